"""What the compiled core offers."""

from collections.abc import Sequence

FRAMED_MORE: int
FRAMED_WHOLE: int
FRAMED_MALFORMED: int
FRAMED_ODD: int

def frame(pieces: Sequence[bytes], is_head: bool, ended: bool, /) -> tuple[int, int, int, int]: ...
