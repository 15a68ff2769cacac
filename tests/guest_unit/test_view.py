"""What observers make of a value: compiled from the guest's own view.c."""

import subprocess
from pathlib import Path

from tests.guest_unit.conftest import GUEST

PROGRAM = r"""
#include <assert.h>
#include <stdlib.h>
#include "view.h"
#include "workload.h"

void die(const char *format, ...) { (void)format; abort(); }

static uint64_t memory[2][4 * 512];

static enum sight look(struct view *view, unsigned int page, uint64_t value, bool *stale)
{
	return view_classify(view, page, value, view->floor[page], stale);
}

int main(void)
{
	static struct view view, other;
	uint64_t *second = &memory[0][512], old, new;
	bool stale;

	view_init(&view, 0, 0, (char *)memory[0], 4);
	view_init(&other, 1, 1, (char *)memory[1], 4);
	assert(look(&view, 1, *second, &stale) == SIGHT_ZERO && !stale);
	view_fill(&view, view.base, 0, 4, 10);
	old = *second;
	assert(look(&view, 1, old, &stale) == SIGHT_OLD && !stale);
	assert(look(&view, 2, old, &stale) == SIGHT_FOREIGN); /* another page's */
	assert(look(&other, 1, old, &stale) == SIGHT_FOREIGN); /* another family's */
	assert(look(&view, 1, old + 1, &stale) == SIGHT_FOREIGN);
	assert(look(&view, 1, 1, &stale) == SIGHT_FOREIGN);
	view_raise(&view, 1, 1, 11);
	assert(look(&view, 1, old, &stale) == SIGHT_OLD && stale);
	assert(look(&view, 0, memory[0][0], &stale) == SIGHT_OLD && !stale); /* not raised */
	view_fill(&view, view.base, 1, 1, 11);
	new = *second;
	assert(look(&view, 1, new, &stale) == SIGHT_NEW && !stale);
	view.ceiling = 10;
	assert(look(&view, 1, new, &stale) == SIGHT_FOREIGN); /* not written yet */
	view.keeps_data = true;
	assert(look(&view, 1, 0, &stale) == SIGHT_LOST);
	assert(look(&view, 2, 0, &stale) == SIGHT_ZERO); /* nothing promised so far */
	return 0;
}
"""


def test_sights(tmp_path: Path):
    source, program = tmp_path / "sights.c", tmp_path / "sights"
    source.write_text(PROGRAM)
    include = (f"-I{GUEST}", f"-I{GUEST / 'arch' / 'x86_64'}")
    options = ("-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", *options, *include, source, GUEST / "view.c", "-o", program], check=True)
    subprocess.run([program], check=True)
