// numpy's default_rng(0).integers(0, n): the draws by which circle_fit.py chooses its points, draw for draw.
//
// PCG64 (O'Neill, 2014: 128-bit state, XSL-RR output), numpy's split of each 64-bit draw into two of 32, and Lemire's
// bounded integers (2019).

const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const STATE = 35399562948360463058890781895381311971n; // numpy.random.default_rng(0).bit_generator.state
const INCREMENT = 87136372517582989555478159403783844777n;

/** Returns a function that gives the next 32-bit number of numpy's default_rng(0). */
function stream() {
  let state = STATE;
  let kept = -1;
  return () => {
    if (kept >= 0) {
      const value = kept;
      kept = -1;
      return value;
    }
    state = (state * MULTIPLIER + INCREMENT) & MASK_128;
    const mixed = (state >> 64n) ^ (state & MASK_64);
    const turn = state >> 122n;
    const value = ((mixed >> turn) | (mixed << ((64n - turn) & 63n))) & MASK_64;
    kept = Number(value >> 32n);
    return Number(value & 0xffffffffn);
  };
}

/**
 * Draws whole numbers as `numpy.random.default_rng(0).integers(0, below, count)` does.
 * @param {number} below 1 .. 2^32 - 1
 * @param {number} count how many
 * @returns {number[]}
 */
export function integers(below, count) {
  if (below === 1) return new Array(count).fill(0);
  const next = stream();
  const least = (2 ** 32 - below) % below;
  return Array.from({length: count}, () => {
    for (;;) {
      const product = BigInt(next()) * BigInt(below);
      if (Number(product & 0xffffffffn) >= least) return Number(product >> 32n);
    }
  });
}
