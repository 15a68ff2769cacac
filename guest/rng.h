/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pseudo-random numbers that depend on the seed alone (splitmix64). */
#ifndef RNG_H
#define RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t mixed = (rng->state += 0x9e3779b97f4a7c15);

	mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
	return mixed ^ (mixed >> 31);
}

/* A number in [0, bound); the bias of the remainder does not matter here. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
	return rng_next(rng) % bound;
}

/* True once in @times. */
static inline bool rng_one_in(struct rng *rng, uint64_t times)
{
	return rng_below(rng, times) == 0;
}

#endif
