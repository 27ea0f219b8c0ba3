"""Where the figures that a judgement rests on come from."""
