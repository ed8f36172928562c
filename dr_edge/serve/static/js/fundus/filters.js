// Blurs, erosion and dilation with OpenCV's borders and roundings.

import {roundHalfEven} from './picture.js';

/** Mirrors an index into 0..n-1 without repeating the edge (BORDER_REFLECT_101). */
function mirrored(i, n) {
  if (n === 1) return 0;
  while (i < 0 || i >= n) i = i < 0 ? -i : 2 * n - 2 - i;
  return i;
}

// OpenCV's 8-bit Gaussian of sigma 1: seven weights that sum to 256.
const SIGMA_ONE = [1, 14, 62, 102, 62, 14, 1];

/**
 * Blurs a grey picture with sigma 1 in fixed-point numbers, bit for bit as OpenCV does with 8-bit pictures.
 * @param {{data: Uint8Array, width: number, height: number}} picture
 */
export function blurSigmaOne(picture) {
  const {data, width, height} = picture;
  const rows = new Uint32Array(width * height);
  const out = new Uint8Array(width * height);
  for (let x = 0; x < width; x++) {
    const from = SIGMA_ONE.map((_, k) => mirrored(x + k - 3, width));
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let k = 0; k < 7; k++) sum += SIGMA_ONE[k] * data[y * width + from[k]];
      rows[y * width + x] = sum;
    }
  }
  for (let y = 0; y < height; y++) {
    const from = SIGMA_ONE.map((_, k) => mirrored(y + k - 3, height) * width);
    for (let x = 0; x < width; x++) {
      let sum = 32768;
      for (let k = 0; k < 7; k++) sum += SIGMA_ONE[k] * rows[from[k] + x];
      out[y * width + x] = sum >> 16;
    }
  }
  return {data: out, width, height};
}

/**
 * Blurs a floating-point picture; the kernel reaches four sigma to each side, as OpenCV's does for floats.
 * @param {{data: Float32Array, width: number, height: number}} picture
 * @param {number} sigma pixels
 */
export function gaussianBlur(picture, sigma) {
  const size = roundHalfEven(sigma * 8 + 1) | 1;
  const middle = (size - 1) / 2;
  const kernel = Array.from({length: size}, (_, k) => Math.exp(-((k - middle) ** 2) / (2 * sigma * sigma)));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  return separable(
    picture,
    kernel.map((weight) => weight / total),
  );
}

function separable(picture, kernel) {
  const {data, width, height} = picture;
  const reach = (kernel.length - 1) / 2;
  const rows = new Float32Array(width * height);
  const out = new Float32Array(width * height);
  const sum = new Float64Array(width);
  const columns = Int32Array.from({length: width + 2 * reach}, (_, i) => mirrored(i - reach, width));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let k = 0; k < kernel.length; k++) value += kernel[k] * data[y * width + columns[x + k]];
      rows[y * width + x] = value;
    }
  }
  for (let y = 0; y < height; y++) {
    sum.fill(0);
    for (let k = 0; k < kernel.length; k++) {
      const from = mirrored(y + k - reach, height) * width;
      for (let x = 0; x < width; x++) sum[x] += kernel[k] * rows[from + x];
    }
    out.set(sum, y * width);
  }
  return {data: out, width, height};
}

/**
 * Averages the 5x5 neighbourhood.
 * @param {{data: Uint8Array | Float32Array, width: number, height: number}} picture
 * @param {number} channels 1 or 3, interleaved
 * @returns the same kind of picture; bytes are rounded
 */
export function boxBlur5(picture, channels = 1) {
  const {data, width, height} = picture;
  const bytes = data instanceof Uint8Array;
  const stride = width * channels;
  const rows = new Float32Array(data.length);
  const out = bytes ? new Uint8Array(data.length) : new Float32Array(data.length);
  for (let x = 0; x < width; x++) {
    const from = [-2, -1, 0, 1, 2].map((step) => mirrored(x + step, width) * channels);
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < 5; k++) sum += data[y * stride + from[k] + c];
        rows[y * stride + x * channels + c] = sum;
      }
    }
  }
  for (let y = 0; y < height; y++) {
    const from = [-2, -1, 0, 1, 2].map((step) => mirrored(y + step, height) * stride);
    for (let x = 0; x < stride; x++) {
      let sum = 0;
      for (let k = 0; k < 5; k++) sum += rows[from[k] + x];
      out[y * stride + x] = bytes ? Math.round(sum / 25) : sum / 25;
    }
  }
  return {data: out, width, height};
}

/**
 * Takes the least (or greatest) value of each square neighbourhood; what lies outside the picture counts as `outside`.
 * @param {{data: Uint8Array, width: number, height: number}} picture
 * @param {number} size odd side of the square in pixels
 * @param {boolean} least true erodes, false dilates
 * @param {number} outside 255 (erosion) and 0 (dilation) leave the border out of account
 */
function extreme(picture, size, least, outside) {
  const {data, width, height} = picture;
  const reach = (size - 1) / 2;
  const rows = new Uint8Array(width * height);
  const out = new Uint8Array(width * height);
  const flip = least ? 0 : 255; // the greatest value is the least of the values turned over
  const beyond = outside ^ flip;
  for (let y = 0; y < height; y++) {
    const line = y * width;
    for (let x = 0; x < width; x++) {
      let best = x < reach || x + reach >= width ? beyond : 255;
      const last = line + Math.min(width - 1, x + reach);
      for (let i = line + Math.max(0, x - reach); i <= last; i++) best = Math.min(best, data[i] ^ flip);
      rows[line + x] = best;
    }
  }
  for (let y = 0; y < height; y++) {
    const border = y < reach || y + reach >= height ? beyond : 255;
    const first = Math.max(0, y - reach) * width;
    const last = Math.min(height - 1, y + reach) * width;
    for (let x = 0; x < width; x++) {
      let best = border;
      for (let i = first + x; i <= last + x; i += width) best = Math.min(best, rows[i]);
      out[y * width + x] = best ^ flip;
    }
  }
  return {data: out, width, height};
}

/** Erodes with a square of `size` pixels; `outside` is what the picture's surroundings count as. */
export function erode(picture, size, outside = 255) {
  return extreme(picture, size, true, outside);
}

/** Dilates with a square of `size` pixels. */
export function dilate(picture, size) {
  return extreme(picture, size, false, 0);
}
