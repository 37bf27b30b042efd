// P = A·B for a batch of matrices of one shape, where A is m×k and B k×n with any strides and P m×n by rows.
// `real` is f32 or f64: the line `alias real = …;` is put in front of this text.
//
// A workgroup computes a tile of 64×64 results, each of its 16×16 threads 4×4 of them, from slices of A and B of
// depth 16 in workgroup memory. Places outside the matrices are read as zero on both sides and never written, so no
// operand element is read twice and nothing that is not an operand takes part in a sum.

struct Shape {
    m: u32,
    n: u32,
    k: u32,
    a_row: u32,
    a_column: u32,
    a_step: u32,
    b_row: u32,
    b_column: u32,
    b_step: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> a: array<real>;
@group(0) @binding(2) var<storage, read> b: array<real>;
@group(0) @binding(3) var<storage, read_write> p: array<real>;

const TILE: u32 = 64;
const DEPTH: u32 = 16;
const SIDE: u32 = 16;
const EACH: u32 = 4;

// Both by depth: element (row or column, d) stands at d · TILE + row or column.
var<workgroup> a_slice: array<real, 1024>;
var<workgroup> b_slice: array<real, 1024>;

@compute @workgroup_size(16, 16, 1)
fn product(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) at: u32,
) {
    let top = tile.y * TILE;
    let left = tile.x * TILE;
    let a_base = tile.z * shape.a_step;
    let b_base = tile.z * shape.b_step;
    var sums: array<array<real, 4>, 4>;

    for (var depth = 0u; depth < shape.k; depth += DEPTH) {
        for (var element = at; element < TILE * DEPTH; element += SIDE * SIDE) {
            let d = depth + element / TILE;
            let row = top + element % TILE;
            let column = left + element % TILE;
            var from_a = real();
            if (row < shape.m && d < shape.k) {
                from_a = a[a_base + row * shape.a_row + d * shape.a_column];
            }
            var from_b = real();
            if (column < shape.n && d < shape.k) {
                from_b = b[b_base + d * shape.b_row + column * shape.b_column];
            }
            a_slice[element] = from_a;
            b_slice[element] = from_b;
        }
        workgroupBarrier();
        let deep = min(DEPTH, shape.k - depth);
        for (var d = 0u; d < deep; d++) {
            for (var i = 0u; i < EACH; i++) {
                let left_factor = a_slice[d * TILE + thread.y * EACH + i];
                for (var j = 0u; j < EACH; j++) {
                    sums[i][j] += left_factor * b_slice[d * TILE + thread.x * EACH + j];
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < EACH; i++) {
        for (var j = 0u; j < EACH; j++) {
            let row = top + thread.y * EACH + i;
            let column = left + thread.x * EACH + j;
            if (row < shape.m && column < shape.n) {
                p[(tile.z * shape.m + row) * shape.n + column] = sums[i][j];
            }
        }
    }
}
