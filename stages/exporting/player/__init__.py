"""One HTML file that plays a clip in any browser, from disk, without a network.

``encode`` turns a clip into a header and a payload; ``page`` puts these, a poster and the page's own scripts into one
file. The scripts are small files beside this one, of two kinds:

- the engine, which knows no page (a Web Worker runs it, or node): ``unpack.js``, ``neighbours.js``,
  ``deformation.js`` with ``deformation_small.js``, ``engine.js``;
- what is seen: ``clip.js``, ``camera.js``, ``shaders.js``, ``ground.js``, ``painter.js``, ``controls.js``, ``main.js``.
"""

from stages.exporting.player.encode import Decoded, decode, encode
from stages.exporting.player.page import player_page

__all__ = ["Decoded", "decode", "encode", "player_page"]
