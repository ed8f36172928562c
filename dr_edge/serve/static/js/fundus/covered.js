// Says whether a label, text or a bar lies over the retina: a port of dr_edge/fundus/covered.py, which says why each number
// is what it is.

import {dilate, erode} from './filters.js';
import {reachedFromOutside} from './outline.js';
import {brightest, count, discMask} from './picture.js';

export const COVER_SIDE = 256;
const EDGE = 130;
const LEAST = 80;
const [UNLIT, LEAST_UNLIT] = [10, 250];
const INSIDE = 0.93;
const REACH = 13;

/**
 * Returns whether a part of the retina is covered.
 * @param {{data: Uint8Array, width: number, height: number}} crop RGB, COVER_SIDE squared
 */
export function isCovered(crop) {
  const size = {width: COVER_SIDE, height: COVER_SIDE};
  const bright = brightest(crop).data;
  const whole = discMask(COVER_SIDE, 0.99);
  const around = reachedFromOutside((i) => whole[i] && bright[i] > UNLIT, COVER_SIDE, COVER_SIDE);
  const near = dilate({data: around, ...size}, REACH).data;
  const clear = discMask(COVER_SIDE, INSIDE).map((inside, i) => (inside && !near[i] ? 1 : 0));
  const black = clear.map((value, i) => (value && bright[i] <= UNLIT ? 1 : 0));
  if (count(dilate(erode({data: black, ...size}, 5), 5).data) > LEAST_UNLIT) return true;
  const steep = new Uint8Array(COVER_SIDE * COVER_SIDE);
  for (let c = 0; c < 3; c++) {
    const channel = {data: steep.map((_, i) => crop.data[3 * i + c]), ...size};
    const [high, low] = [dilate(channel, 3).data, erode(channel, 3).data];
    for (let i = 0; i < steep.length; i++) if (clear[i] && high[i] - low[i] > EDGE) steep[i] = 1;
  }
  return count(steep) > LEAST;
}
