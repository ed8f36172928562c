// Resizing as OpenCV does it: exact area averages on the way down, linear interpolation on the way up.

import {roundHalfEven} from './picture.js';

function clampByte(value) {
  return value <= 0 ? 0 : value >= 255 ? 255 : roundHalfEven(value);
}

/**
 * Halves a picture by averaging fours; an odd last row or column is left out.
 * @param {{data: Uint8Array, width: number, height: number}} picture
 * @param {number} channels interleaved
 */
export function halve(picture, channels = 3) {
  const width = picture.width >> 1;
  const height = picture.height >> 1;
  const out = new Uint8Array(width * height * channels);
  const stride = picture.width * channels;
  const {data} = picture;
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0, i = 2 * y * stride; x < width; x++, i += 2 * channels) {
      for (let c = 0; c < channels; c++, o++) {
        const [one, below] = [i + c, i + stride + c];
        out[o] = (data[one] + data[one + channels] + data[below] + data[below + channels] + 2) >> 2;
      }
    }
  }
  return {data: out, width, height};
}

/**
 * For each of `size` equal intervals of 0..length: the first pixel it touches and how much of each pixel it takes.
 * @returns {{first: number, weights: number[]}[]} weights sum to 1
 */
export function areaWeights(length, size) {
  const scale = length / size;
  return Array.from({length: size}, (_, k) => {
    const start = k * scale;
    const stop = Math.min(length, (k + 1) * scale);
    const first = Math.min(length - 1, Math.floor(start + 1e-9));
    const last = Math.max(first, Math.ceil(stop - 1e-9) - 1);
    const weights = [];
    for (let i = first; i <= last; i++) weights.push((Math.min(i + 1, stop) - Math.max(i, start)) / (stop - start));
    return {first, weights};
  });
}

/**
 * An area average that takes its picture row by row, so that a large photograph need never be held as a whole.
 *
 *   const average = new AreaAverage(width, height, size);
 *   for each row, from the top: average.add(row);   // width * channels bytes
 *   average.result()                                // {data, width: size, height: size}
 */
export class AreaAverage {
  /**
   * @param {number} width of the picture in pixels
   * @param {number} height of the picture in pixels
   * @param {number} size side of the square result
   * @param {number} channels interleaved
   */
  constructor(width, height, size, channels = 3) {
    this.size = size;
    this.channels = channels;
    this.columns = areaWeights(width, size);
    this.rows = areaWeights(height, size);
    this.sums = new Float64Array(size * size * channels);
    this.y = 0; // rows that were added
    this.next = 0; // first row of the result that is not finished
    this.line = new Float64Array(size * channels);
  }

  /** Adds the next row. */
  add(row) {
    const {size, channels, line, columns} = this;
    line.fill(0);
    for (let x = 0; x < size; x++) {
      const {first, weights} = columns[x];
      for (let k = 0; k < weights.length; k++) {
        for (let c = 0; c < channels; c++) line[x * channels + c] += weights[k] * row[(first + k) * channels + c];
      }
    }
    this.spread();
    this.y++;
  }

  /** Adds the shrunk row to the result's rows that touch it. */
  spread() {
    const {size, channels, line, rows, y} = this;
    for (let k = this.next; k < size && rows[k].first <= y; k++) {
      const weight = rows[k].weights[y - rows[k].first];
      if (weight === undefined) {
        this.next = k + 1; // finished: later rows never touch it
        continue;
      }
      const base = k * size * channels;
      for (let i = 0; i < line.length; i++) this.sums[base + i] += weight * line[i];
    }
  }

  /** Returns the average of the rows that were added. */
  result() {
    const data = new Uint8Array(this.sums.length);
    for (let i = 0; i < data.length; i++) data[i] = clampByte(this.sums[i]);
    return {data, width: this.size, height: this.size};
  }
}

/**
 * Averages a picture over `size` x `size` equal areas.
 * @param {{data: Uint8Array, width: number, height: number}} picture
 */
export function areaResize(picture, size, channels = 3) {
  const average = new AreaAverage(picture.width, picture.height, size, channels);
  const stride = picture.width * channels;
  for (let y = 0; y < picture.height; y++) average.add(picture.data.subarray(y * stride, (y + 1) * stride));
  return average.result();
}

/** For each pixel of an axis resized from `length` to `size`: taps [index...] and their weights. */
function taps(length, size) {
  const scale = length / size;
  return Array.from({length: size}, (_, k) => {
    const at = (k + 0.5) * scale - 0.5;
    const first = Math.floor(at);
    const part = at - first;
    const weights = [1 - part, part];
    return {index: weights.map((_, i) => Math.min(length - 1, Math.max(0, first + i))), weights};
  });
}

/**
 * Resizes by interpolation; beyond the edge the edge is repeated.
 * @param {{data: Uint8Array | Float32Array, width: number, height: number}} picture
 * @param {number} size side of the square result
 * @param {{channels?: number}} options
 */
export function interpolate(picture, size, {channels = 1} = {}) {
  const {data, width, height} = picture;
  const bytes = data instanceof Uint8Array;
  const columns = taps(width, size);
  const rows = taps(height, size);
  const stride = size * channels;
  const lines = new Float64Array(height * stride);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      const {index, weights} = columns[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < index.length; k++) sum += weights[k] * data[(y * width + index[k]) * channels + c];
        lines[y * stride + x * channels + c] = sum;
      }
    }
  }
  const out = bytes ? new Uint8Array(size * stride) : new Float32Array(size * stride);
  for (let y = 0; y < size; y++) {
    const {index, weights} = rows[y];
    for (let x = 0; x < stride; x++) {
      let sum = 0;
      for (let k = 0; k < index.length; k++) sum += weights[k] * lines[index[k] * stride + x];
      out[y * stride + x] = bytes ? clampByte(sum) : sum;
    }
  }
  return {data: out, width: size, height: size};
}

/**
 * Enlarges a box of an RGB picture to `size` x `size`, linearly; black outside the picture.
 * @param {{data: Uint8Array, width: number, height: number}} rgb
 * @param {number[]} box top, left, bottom, right in pixels (slice bounds)
 */
export function enlargeBox(rgb, [top, left, bottom, right], size) {
  const {data, width, height} = rgb;
  const out = new Uint8Array(size * size * 3);
  const pixel = (x, y, c) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : data[(y * width + x) * 3 + c]);
  for (let v = 0, o = 0; v < size; v++) {
    const y = top + ((v + 0.5) * (bottom - top)) / size - 0.5;
    const y0 = Math.floor(y);
    for (let u = 0; u < size; u++) {
      const x = left + ((u + 0.5) * (right - left)) / size - 0.5;
      const x0 = Math.floor(x);
      for (let c = 0; c < 3; c++, o++) {
        const above = pixel(x0, y0, c) * (1 - x + x0) + pixel(x0 + 1, y0, c) * (x - x0);
        const below = pixel(x0, y0 + 1, c) * (1 - x + x0) + pixel(x0 + 1, y0 + 1, c) * (x - x0);
        out[o] = clampByte(above * (1 - y + y0) + below * (y - y0));
      }
    }
  }
  return {data: out, width: size, height: size};
}
