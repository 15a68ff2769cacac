"""The checker's own source as extension modules, which Cython makes of it: faster, and the same.

``python -m shootdown.compiled`` (``make compiled``) builds them into ``_compiled`` beside this
package. Nothing depends on them: without them, or where they are not of the source as it is now,
the interpreter runs the source itself. ``table`` says what is compiled.

Whoever wants them calls ``use`` before anything of the checker is imported. Commands do; whoever
imports the checker to work with it does not, and may patch what he likes.
"""

from shootdown.compiled.finder import SWITCH, refuse, use

__all__ = ["SWITCH", "refuse", "use"]
