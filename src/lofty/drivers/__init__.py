"""One package per cloud behind one seam: `base` draws it, `registry` finds them."""
