"""What is shown on the page of ``view``, beside the splat."""
