// Cuts the square around the field of view out of a photograph that is read in strips of rows: a port of dr_edge/fundus/crop.py.

import {AreaAverage, enlargeBox, halve, interpolate} from './resize.js';

const TWO_STEPS_BELOW = 3; // below this reduction: linearly to twice the size, then averages of four
export const STRIP = 256; // rows read at a time

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
