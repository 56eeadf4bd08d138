"""Damaged files for every reader: none may raise anything but one of our errors, hang, or fill the memory."""
