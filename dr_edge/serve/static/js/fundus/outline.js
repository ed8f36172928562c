// Regions of a mask: the largest one, its outline in OpenCV's order, its hull, and the distance from a mask's edge.

// Directions as chain codes: 0 is to the right, then counter-clockwise as seen (rows count downwards).
const STEP_X = [1, 1, 0, -1, -1, -1, 0, 1];
const STEP_Y = [0, -1, -1, -1, 0, 1, 1, 1];

/**
 * Follows the outer border of the region that begins at a pixel (Suzuki and Abe, 1985), in the order of OpenCV's
 * findContours(RETR_EXTERNAL, CHAIN_APPROX_NONE).
 * @param {(x: number, y: number) => boolean} inside whether a pixel belongs to the region; false outside the picture
 * @param {number} startX column of the region's first pixel, row by row
 * @param {number} startY its row
 * @returns {number[][]} [x, y] of each border pixel; thin parts occur twice
 */
export function followBorder(inside, startX, startY) {
  let direction = 4;
  do {
    direction = (direction + 7) % 8;
    if (inside(startX + STEP_X[direction], startY + STEP_Y[direction])) break;
  } while (direction !== 4);
  if (direction === 4) return [[startX, startY]]; // a single pixel
  const secondX = startX + STEP_X[direction];
  const secondY = startY + STEP_Y[direction];
  const points = [];
  let x = startX;
  let y = startY;
  for (;;) {
    do direction = (direction + 1) % 8;
    while (!inside(x + STEP_X[direction], y + STEP_Y[direction]));
    points.push([x, y]);
    const nextX = x + STEP_X[direction];
    const nextY = y + STEP_Y[direction];
    if (nextX === startX && nextY === startY && x === secondX && y === secondY) return points;
    x = nextX;
    y = nextY;
    direction = (direction + 4) % 8;
  }
}

/** Returns the area that a closed line of [x, y] encloses, in pixels squared. */
export function enclosedArea(points) {
  let twice = 0;
  for (let i = 0; i < points.length; i++) {
    const [x, y] = points[i];
    const [previousX, previousY] = points[(i || points.length) - 1];
    twice += previousX * y - x * previousY;
  }
  return Math.abs(twice) / 2;
}

/**
 * Labels the regions of a mask; pixels that touch at a corner belong together.
 * @param {Uint8Array} mask width * height
 * @returns {{labels: Int32Array, first: number[]}} labels from 1; index of each region's first pixel, row by row
 */
export function regions(mask, width, height) {
  const labels = new Int32Array(mask.length);
  const first = [];
  const waiting = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || labels[start]) continue;
    first.push(start);
    labels[start] = first.length;
    waiting.push(start);
    while (waiting.length) {
      const at = waiting.pop();
      const x = at % width;
      const y = (at - x) / width;
      for (let k = 0; k < 8; k++) {
        const nextX = x + STEP_X[k];
        const nextY = y + STEP_Y[k];
        if (nextX < 0 || nextY < 0 || nextX >= width || nextY >= height) continue;
        const next = nextY * width + nextX;
        if (mask[next] && !labels[next]) {
          labels[next] = first.length;
          waiting.push(next);
        }
      }
    }
  }
  return {labels, first};
}

/**
 * Returns the outline of each region of a mask.
 * @returns {{label: number, points: number[][]}[]}
 */
export function outlines(mask, width, height) {
  const {labels, first} = regions(mask, width, height);
  const found = first.map((start, index) => {
    const label = index + 1;
    const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] === label;
    return {label, points: followBorder(inside, start % width, Math.floor(start / width))};
  });
  return {labels, found};
}

/**
 * Marks what is reached from outside the picture without crossing a blocked pixel, sideways, up and down.
 * @param {(index: number) => boolean} blocked
 * @returns {Uint8Array} width * height, 1 where reached
 */
export function reachedFromOutside(blocked, width, height) {
  const reached = new Uint8Array(width * height);
  const waiting = [];
  const visit = (index) => {
    if (!reached[index] && !blocked(index)) {
      reached[index] = 1;
      waiting.push(index);
    }
  };
  for (let x = 0; x < width; x++) {
    visit(x);
    visit((height - 1) * width + x);
  }
  for (let y = 0; y < height; y++) {
    visit(y * width);
    visit(y * width + width - 1);
  }
  while (waiting.length) {
    const at = waiting.pop();
    const x = at % width;
    if (x > 0) visit(at - 1);
    if (x < width - 1) visit(at + 1);
    if (at >= width) visit(at - width);
    if (at < width * (height - 1)) visit(at + width);
  }
  return reached;
}

/**
 * Returns the largest region of a mask with its holes filled, or null where it encloses less than `least` pixels.
 * @param {Uint8Array} mask width * height
 * @param {number} least pixels squared
 * @returns {Uint8Array | null}
 */
export function largestFilled(mask, width, height, least) {
  const {labels, found} = outlines(mask, width, height);
  let best = null;
  let bestArea = -1;
  for (const {label, points} of found) {
    const area = enclosedArea(points);
    if (area > bestArea) [best, bestArea] = [label, area];
  }
  if (best === null || bestArea < least) return null;
  const outside = reachedFromOutside((index) => labels[index] === best, width, height);
  return outside.map((reached) => 1 - reached);
}

/** Returns the corners of the convex hull of whole-number points, in order. */
export function convexHull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (ordered) => {
    const corners = [];
    for (const point of ordered) {
      while (corners.length > 1 && !turns(corners.at(-2), corners.at(-1), point)) corners.pop();
      corners.push(point);
    }
    corners.pop();
    return corners;
  };
  const corners = [...half(sorted), ...half(sorted.reverse())];
  return corners.length ? corners : [points[0]];
}

function turns(a, b, c) {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0;
}

/** Fills a convex polygon with whole-number corners, its border included. @returns {Uint8Array} width * height */
export function fillConvex(corners, width, height) {
  const first = new Int32Array(height).fill(width);
  const last = new Int32Array(height).fill(-1);
  for (let i = 0; i < corners.length; i++) {
    line(corners[i], corners[(i + 1) % corners.length], (x, y) => {
      first[y] = Math.min(first[y], x);
      last[y] = Math.max(last[y], x);
    });
  }
  const mask = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) if (last[y] >= 0) mask.fill(1, y * width + first[y], y * width + last[y] + 1);
  return mask;
}

/** Visits the pixels of a line between two of them (Bresenham). */
function line([x0, y0], [x1, y1], visit) {
  const dx = Math.abs(x1 - x0);
  const dy = Math.abs(y1 - y0);
  const stepX = x0 < x1 ? 1 : -1;
  const stepY = y0 < y1 ? 1 : -1;
  let error = dx - dy;
  for (let x = x0, y = y0; ;) {
    visit(x, y);
    if (x === x1 && y === y1) return;
    const twice = 2 * error;
    if (twice > -dy) [error, x] = [error - dy, x + stepX];
    if (twice < dx) [error, y] = [error + dx, y + stepY];
  }
}

const SIDE = Math.round(0.955 * 65536); // OpenCV's steps of the 3x3 chamfer distance, in 1/65536 pixel
const CORNER = Math.round(1.3693 * 65536);

/**
 * Returns how deep each pixel lies inside a mask, in 1/65536 pixel (chamfer distance); outside the picture is outside.
 * @param {Uint8Array} mask width * height
 * @returns {Float64Array}
 */
export function depth(mask, width, height) {
  const stride = width + 2;
  const far = new Float64Array(stride * (height + 2)); // with a margin of 0 around
  const at = (x, y) => (y + 1) * stride + x + 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!mask[y * width + x]) continue;
      const i = at(x, y);
      const above = Math.min(far[i - stride - 1] + CORNER, far[i - stride] + SIDE, far[i - stride + 1] + CORNER);
      far[i] = Math.min(above, far[i - 1] + SIDE);
    }
  }
  const out = new Float64Array(width * height);
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      const i = at(x, y);
      if (far[i] > 0) {
        const below = Math.min(far[i + stride - 1] + CORNER, far[i + stride] + SIDE, far[i + stride + 1] + CORNER);
        far[i] = Math.min(far[i], below, far[i + 1] + SIDE);
      }
      out[y * width + x] = far[i];
    }
  }
  return out;
}
