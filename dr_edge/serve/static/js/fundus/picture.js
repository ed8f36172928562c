// Pictures as plain arrays, and the small sums over them that several steps need.
//
// A picture is {data, width, height}: RGB has 3 bytes per pixel (Uint8Array), a grey picture or a mask 1 (Uint8Array,
// or Float32Array where a step works in floating point). Canvas RGBA is repacked at the door (photograph.js), so that
// everything here counts as the Python code does.

/**
 * Returns the brightest channel of each pixel: what is lit is lit in red at least.
 * @param {{data: Uint8Array, width: number, height: number}} rgb
 * @returns {{data: Uint8Array, width: number, height: number}}
 */
export function brightest(rgb) {
  const {data, width, height} = rgb;
  const out = new Uint8Array(width * height);
  for (let i = 0, j = 0; i < out.length; i++, j += 3) {
    const two = data[j] > data[j + 1] ? data[j] : data[j + 1];
    out[i] = two > data[j + 2] ? two : data[j + 2];
  }
  return {data: out, width, height};
}

/** Returns the luminance of each pixel, 0..255, as OpenCV's RGB2GRAY rounds it. */
export function grey(rgb) {
  const {data, width, height} = rgb;
  const out = new Uint8Array(width * height);
  for (let i = 0, j = 0; i < out.length; i++, j += 3) {
    out[i] = (data[j] * 9798 + data[j + 1] * 19235 + data[j + 2] * 3735 + 16384) >> 15;
  }
  return {data: out, width, height};
}

/**
 * Counts grey levels, of every `step`-th pixel of every `step`-th row.
 * @param {{data: Uint8Array, width: number, height: number}} picture one channel
 * @param {number} step 1 takes all
 * @param {Uint8Array} [mask] only where it is not 0
 * @returns {Uint32Array} 256 counts
 */
export function histogram(picture, step = 1, mask = undefined) {
  const counts = new Uint32Array(256);
  for (let y = 0; y < picture.height; y += step) {
    for (let x = 0, i = y * picture.width; x < picture.width; x += step, i += step) {
      if (mask === undefined || mask[i]) counts[picture.data[i]]++;
    }
  }
  return counts;
}

/**
 * Returns a percentile of counted levels, interpolated linearly between neighbours.
 * @param {Uint32Array} counts how often each level occurs
 * @param {number} percent 0..100
 * @returns {number} NaN where nothing was counted
 */
export function percentile(counts, percent) {
  let total = 0;
  for (const count of counts) total += count;
  if (total === 0) return NaN;
  const at = (percent / 100) * (total - 1);
  const low = level(counts, Math.floor(at));
  const high = level(counts, Math.ceil(at));
  return low + (high - low) * (at - Math.floor(at));
}

function level(counts, rank) {
  let seen = 0;
  for (let value = 0; value < counts.length; value++) {
    seen += counts[value];
    if (seen > rank) return value;
  }
  return counts.length - 1;
}

/** Returns the indices of the pixels of the first and the last row and column; those of the corners stand twice. */
export function borderOf(width, height) {
  const border = [];
  for (let x = 0; x < width; x++) border.push(x, (height - 1) * width + x);
  for (let y = 0; y < height; y++) border.push(y * width, y * width + width - 1);
  return border;
}

/** Returns the mean of some of the values, those at `indices`. */
export function meanAt(values, indices) {
  return indices.reduce((sum, i) => sum + values[i], 0) / indices.length;
}

/** Returns how many values are not 0. */
export function count(mask) {
  let total = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i]) total++;
  return total;
}

/** Rounds to the nearest whole number, halves to the even one, as numpy and OpenCV do. */
export function roundHalfEven(value) {
  const low = Math.floor(value);
  const part = value - low;
  if (part < 0.5) return low;
  if (part > 0.5) return low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** Returns the disc of a square crop, 1 where a pixel's centre lies within `fraction` of the half side. */
export function discMask(size, fraction = 1) {
  const mask = new Uint8Array(size * size);
  const limit = ((fraction * size) / 2) ** 2;
  for (let y = 0, i = 0; y < size; y++) {
    const dy = y - (size - 1) / 2;
    for (let x = 0; x < size; x++, i++) {
      const dx = x - (size - 1) / 2;
      mask[i] = dx * dx + dy * dy <= limit ? 1 : 0;
    }
  }
  return mask;
}

/** Returns the mean of the values where `inside` is not 0. */
export function meanWhere(values, inside) {
  let [sum, total] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    if (!inside[i]) continue;
    sum += values[i];
    total++;
  }
  return sum / total;
}
