// From a photograph to the square crop that the model takes: a port of dr_edge/fundus/crop.py and
// dr_edge/fundus/read_crop.py. The photograph is read in strips of rows and never held as a whole.

import {findFov, halvings} from './fov.js';
import {quality} from './quality.js';
import {AreaAverage, areaResize, enlargeBox, halve, interpolate} from './resize.js';

const TWO_STEPS_BELOW = 3; // below this reduction: linearly to twice the size, then averages of four
const STRIP = 256; // rows read at a time

/**
 * A photograph whose rows can be read: upright RGB bytes.
 * @typedef {object} Source
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {(top: number, bottom: number) => Uint8Array} rows 3 bytes per pixel of the rows top .. bottom - 1
 */

/**
 * Finds the field of view in a photograph and cuts the square around it.
 * @param {(denominator: number) => Source} reduced gives the photograph at 1/denominator of its size
 * @param {number} denominator 1, 2, 4 or 8: how far it may be reduced
 * @param {number} size side of the crop in pixels
 * @returns {{box: number[], rim: boolean, crop: {data: Uint8Array, width: number, height: number}, quality: object}}
 *   box: top, left, bottom, right in pixels of the upright photograph, as slice bounds; may exceed it
 * @throws {import('./gradability.js').NotFundusError}
 */
export function cropPhotograph(reduced, denominator, size) {
  let source = reduced(denominator);
  let found = find(source);
  if (denominator > 1 && found.box[2] - found.box[0] < size) {
    // A small disc in a large frame.
    denominator = 1;
    source = reduced(1);
    found = find(source);
  }
  const crop = cropSquare(source, found.box, size);
  return {box: found.box.map((edge) => edge * denominator), rim: found.rim, crop, quality: quality(crop)};
}

function find(source) {
  const times = halvings(source.width, source.height);
  return findFov(shrunk(source, times), 2 ** times);
}

/** Returns the photograph halved `times` times, each time rounded, as fov.py does. */
export function shrunk(source, times) {
  const factor = 2 ** times;
  const width = source.width >> times;
  const height = source.height >> times;
  const out = new Uint8Array(width * height * 3);
  const step = Math.max(factor, STRIP - (STRIP % factor));
  for (let top = 0, filled = 0; filled < height; top += step) {
    const bottom = Math.min(top + step, height * factor);
    let strip = {data: source.rows(top, bottom), width: source.width, height: bottom - top};
    for (let i = 0; i < times; i++) strip = halve(strip);
    out.set(strip.data, filled * width * 3);
    filled += strip.height;
  }
  return {data: out, width, height};
}

/**
 * Cuts a square (in a squashed photograph: an upright rectangle) and resizes it; black outside the frame.
 * @param {Source} source
 * @param {number[]} box top, left, bottom, right in whole pixels
 * @param {number} size side of the result in pixels
 */
export function cropSquare(source, box, size) {
  const [top, left, bottom, right] = box;
  if (right - left < size && bottom - top < size) return enlarged(source, box, size);
  if (Math.max(right - left, bottom - top) < TWO_STEPS_BELOW * size) {
    const cut = {data: new Uint8Array((bottom - top) * (right - left) * 3), width: right - left, height: bottom - top};
    eachRow(source, box, (row, y) => cut.data.set(row, y * row.length));
    return halve(interpolate(cut, 2 * size, {channels: 3}));
  }
  const average = new AreaAverage(right - left, bottom - top, size);
  eachRow(source, box, (row) => average.add(row));
  return average.result();
}

/** Calls `take(row, y)` for each row of the box, black where it lies outside the frame. */
function eachRow(source, [top, left, bottom, right], take) {
  const row = new Uint8Array((right - left) * 3);
  const first = Math.max(left, 0);
  const last = Math.min(right, source.width);
  let strip = null;
  let stripTop = 0;
  for (let y = top; y < bottom; y++) {
    row.fill(0);
    if (y >= 0 && y < source.height && last > first) {
      if (strip === null || y >= stripTop + STRIP) {
        stripTop = y;
        strip = source.rows(y, Math.min(y + STRIP, source.height, bottom));
      }
      const at = (y - stripTop) * source.width;
      row.set(strip.subarray((at + first) * 3, (at + last) * 3), (first - left) * 3);
    }
    take(row, y - top);
  }
}

function enlarged(source, [top, left, bottom, right], size) {
  const first = Math.max(0, top - 1);
  const last = Math.min(source.height, bottom + 1);
  const strip = {data: source.rows(first, last), width: source.width, height: last - first};
  return enlargeBox(strip, [top - first, left, bottom - first, right], size);
}

/** Resizes a square RGB crop for showing. */
export function resizeForShow(crop, size) {
  return crop.width >= size ? areaResize(crop, size) : interpolate(crop, size, {channels: 3});
}
