// The algebraic least-squares circle or upright ellipse through points (circle_fit.py: _solve).

/**
 * Solves a small linear system by Gaussian elimination with row exchange.
 * @param {number[][]} matrix square; is changed
 * @param {number[]} right is changed
 * @returns {{solution: number[], determinant: number}}
 */
export function solve(matrix, right) {
  const n = right.length;
  let determinant = 1;
  for (let k = 0; k < n; k++) {
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (Math.abs(matrix[i][k]) > Math.abs(matrix[pivot][k])) pivot = i;
    if (pivot !== k) {
      [matrix[k], matrix[pivot]] = [matrix[pivot], matrix[k]];
      [right[k], right[pivot]] = [right[pivot], right[k]];
      determinant = -determinant;
    }
    determinant *= matrix[k][k];
    if (matrix[k][k] === 0) return {solution: new Array(n).fill(NaN), determinant: 0};
    for (let i = k + 1; i < n; i++) {
      const factor = matrix[i][k] / matrix[k][k];
      for (let j = k; j < n; j++) matrix[i][j] -= factor * matrix[k][j];
      right[i] -= factor * right[k];
    }
  }
  for (let k = n - 1; k >= 0; k--) {
    for (let j = k + 1; j < n; j++) right[k] -= matrix[k][j] * right[j];
    right[k] /= matrix[k][k];
  }
  return {solution: right, determinant};
}

/**
 * Fits a circle (x^2 + y^2 = b x + c y + d) or an upright ellipse (y^2 = a x^2 + b x + c y + d).
 * @param {number[][]} points [x, y], about their mean
 * @param {boolean} squashed fit an ellipse
 * @returns {{x: number, y: number, radius: number, aspect: number}} NaN where the points make none
 */
export function fitAlgebraic(points, squashed) {
  const columns = squashed ? 4 : 3;
  const design = points.map(([x, y]) => (squashed ? [x * x, x, y, 1] : [x, y, 1]));
  const scale = new Array(columns).fill(1e-12); // one size of number in every column
  for (const row of design) for (let j = 0; j < columns; j++) scale[j] = Math.max(scale[j], Math.abs(row[j]));
  const normal = Array.from({length: columns}, () => new Array(columns).fill(0));
  const right = new Array(columns).fill(0);
  design.forEach((row, index) => {
    const [x, y] = points[index];
    const target = squashed ? y * y : x * x + y * y;
    for (let i = 0; i < columns; i++) {
      const value = row[i] / scale[i];
      right[i] += value * target;
      for (let j = 0; j < columns; j++) normal[i][j] += value * (row[j] / scale[j]);
    }
  });
  const {solution, determinant} = solve(normal, right);
  if (!(Math.abs(determinant) > 1e-14)) return {x: NaN, y: NaN, radius: NaN, aspect: NaN};
  const values = solution.map((value, j) => value / scale[j]);
  const [a, b, c, d] = squashed ? values : [-1, ...values];
  if (!(a < 0)) return {x: NaN, y: NaN, radius: NaN, aspect: NaN};
  const x = -b / (2 * a);
  const y = c / 2;
  return {x, y, radius: Math.sqrt(d + y * y - a * x * x), aspect: 1 / Math.sqrt(-a)};
}
