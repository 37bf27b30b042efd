// A batch of 64-byte market frames: classify → scan_tiles → scan_groups → place → reduce.
//
// Frames are counted by group (lanes, then frames without a lane, then refused ones) in tiles of 256; the counts are
// summed up over each group's tiles and over the groups; each frame then knows its place, and the order within a group
// is that of the batch. One workgroup per lane finally sums its trades up and cuts the sums into buckets: the volume
// bought until a boundary is that until the trade that reaches it, less what of the trade lies behind it.
//
// 64-bit integers are two words, low first, so that every device runs this; sums stop at the largest one, which the
// caller takes for "too much".

struct Params {
    frames: u32,
    lanes: u32,
    tiles: u32,
    buckets_max: u32,
    // Where in `output` each part begins.
    order_at: u32,
    offsets_at: u32,
    lanes_at: u32,
}

// `words`: 64 bytes are four of these.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>>;
// Instrument, bucket volume, nothing.
@group(0) @binding(2) var<storage, read> lanes: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> progress: array<Sums>;
// Of group g and tile t at g · tiles + t.
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;
@group(0) @binding(5) var<storage, read_write> groups: array<u32>;
// Of the frame at each place of the order: its lane's sums up to and with it.
@group(0) @binding(6) var<storage, read_write> sums: array<Sums>;
// A refusal or 0 for each frame; the order; the offsets of the groups and their end; the lanes.
@group(0) @binding(7) var<storage, read_write> output: array<u32>;

const WIDE: u32 = 256;
const TRADE: u32 = 1;
const QUOTE: u32 = 2;

// ---- 64-bit integers ----

const LARGEST = vec2<u32>(0xffffffffu, 0xffffffffu);
const NO_PRICE = vec2<u32>(0xffffffffu, 0x7fffffffu);

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    let high = a.y + b.y;
    let all = high + u32(low < a.x);
    if (high < a.y || all < high) {
        return LARGEST;
    }
    return vec2<u32>(low, all);
}

// Where a is not less than b.
fn subtract(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

// `count` has at most 16 bits.
fn product(a: u32, count: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * count;
    let high = (a >> 16u) * count + (low >> 16u);
    return vec2<u32>((high << 16u) | (low & 0xffffu), high >> 16u);
}

fn times(a: vec2<u32>, count: u32) -> vec2<u32> {
    let low = product(a.x, count);
    let high = product(a.y, count);
    let sum = low.y + high.x;
    if (high.y != 0u || sum < low.y) {
        return LARGEST;
    }
    return vec2<u32>(low.x, sum);
}

fn is_negative(a: vec2<u32>) -> bool {
    return (a.y >> 31u) == 1u;
}

fn is_zero(a: vec2<u32>) -> bool {
    return (a.x | a.y) == 0u;
}

// ---- frames ----

fn kind_of(frame: u32) -> u32 {
    return words[frame * 4u].x & 0xffu;
}

// The decoder's refusals of a frame, in its order: see nautilus_messages::frame. The last two quarters of a frame are
// its body, at bytes 32 and 48.
fn refusal(frame: u32) -> u32 {
    let head = words[frame * 4u].x;
    let body = words[frame * 4u + 2u];
    let tail = words[frame * 4u + 3u];
    let kind = head & 0xffu;
    if (kind == 0u || kind > 9u) {
        return 1u;
    }
    if (((head >> 8u) & 0xffu) != 1u) {
        return 2u;
    }
    if (kind >= 8u) {
        return 3u;
    }
    if (!enumerations_are_legal(kind, body, tail)) {
        return 4u;
    }
    if ((head >> 16u) > 0x7fu) {
        return 5u;
    }
    switch kind {
        case 1u: { return trade_refusal(body); }
        case 2u: { return quote_refusal(body, tail); }
        case 3u: { return order_refusal(body, tail); }
        case 4u: { return level_refusal(body, tail); }
        case 7u: { return select(0u, 15u, less(body.zw, body.xy)); }
        default: { return 0u; }
    }
}

fn enumerations_are_legal(kind: u32, body: vec4<u32>, tail: vec4<u32>) -> bool {
    switch kind {
        case 1u: { return (tail.z & 0xffu) <= 2u; }
        case 3u: { return (tail.z & 0xffu) >= 1u && (tail.z & 0xffu) <= 5u && ((tail.z >> 8u) & 0xffu) <= 2u; }
        case 4u: { return (tail.y & 0xffu) <= 2u; }
        case 5u: { return (body.y & 0xffu) >= 1u && (body.y & 0xffu) <= 2u; }
        case 6u: { return (body.x & 0xffu) <= 4u && ((body.x >> 8u) & 0xffu) <= 2u; }
        case 7u: { return (tail.x & 0xffu) >= 1u && (tail.x & 0xffu) <= 2u; }
        default: { return true; }
    }
}

fn trade_refusal(body: vec4<u32>) -> u32 {
    if (is_negative(body.zw) || is_zero(body.zw)) {
        return 6u;
    }
    return select(0u, 7u, all(body.xy == NO_PRICE));
}

fn quantity_is_legal(price: vec2<u32>, quantity: vec2<u32>) -> bool {
    if (all(price == NO_PRICE)) {
        return is_zero(quantity);
    }
    return !is_negative(quantity);
}

fn quote_refusal(body: vec4<u32>, tail: vec4<u32>) -> u32 {
    if (!quantity_is_legal(body.xy, tail.xy)) {
        return 8u;
    }
    return select(9u, 0u, quantity_is_legal(body.zw, tail.zw));
}

fn order_refusal(body: vec4<u32>, tail: vec4<u32>) -> u32 {
    let action = tail.z & 0xffu;
    // A clear says nothing else.
    if (action == 5u) {
        return 0u;
    }
    if (((tail.z >> 8u) & 0xffu) == 0u) {
        return 10u;
    }
    if (is_negative(tail.xy)) {
        return 11u;
    }
    return select(0u, 12u, action == 1u && all(body.zw == NO_PRICE));
}

fn level_refusal(body: vec4<u32>, tail: vec4<u32>) -> u32 {
    if (is_negative(body.zw)) {
        return 13u;
    }
    return select(0u, 14u, (tail.y & 0xffu) == 0u && !is_zero(body.zw));
}

// ---- routing ----

// The lane of an instrument, or the number of lanes where it has none.
fn lane_of(instrument: u32) -> u32 {
    var low = 0u;
    var high = params.lanes;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (lanes[middle].x < instrument) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    if (low < params.lanes && lanes[low].x == instrument) {
        return low;
    }
    return params.lanes;
}

@compute @workgroup_size(256)
fn classify(@builtin(global_invocation_id) id: vec3<u32>) {
    let frame = id.x;
    if (frame >= params.frames) {
        return;
    }
    let reason = refusal(frame);
    var group = params.lanes + 1u;
    if (reason == 0u) {
        group = lane_of(words[frame * 4u].y);
    }
    output[frame] = reason;
    groups[frame] = group;
    atomicAdd(&counts[group * params.tiles + frame / WIDE], 1u);
}

var<workgroup> line: array<u32, 256>;

// The sum of the values of threads 0 to `at`. Every thread of the workgroup calls it.
fn summed_up(value: u32, at: u32) -> u32 {
    line[at] = value;
    workgroupBarrier();
    for (var step = 1u; step < WIDE; step *= 2u) {
        var sum = line[at];
        if (at >= step) {
            sum += line[at - step];
        }
        workgroupBarrier();
        line[at] = sum;
        workgroupBarrier();
    }
    return line[at];
}

// Each tile's count becomes the number of frames of its group in earlier tiles; the offsets hold the totals meanwhile.
@compute @workgroup_size(256)
fn scan_tiles(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let row = workgroup.x * params.tiles;
    var before = 0u;
    for (var start = 0u; start < params.tiles; start += WIDE) {
        let tile = start + at;
        var count = 0u;
        if (tile < params.tiles) {
            count = atomicLoad(&counts[row + tile]);
        }
        let sum = summed_up(count, at);
        if (tile < params.tiles) {
            atomicStore(&counts[row + tile], before + sum - count);
        }
        before += line[WIDE - 1u];
        workgroupBarrier();
    }
    if (at == 0u) {
        output[params.offsets_at + workgroup.x + 1u] = before;
    }
}

@compute @workgroup_size(256)
fn scan_groups(@builtin(local_invocation_index) at: u32) {
    let number = params.lanes + 2u;
    var before = 0u;
    for (var start = 0u; start < number; start += WIDE) {
        let group = start + at;
        var count = 0u;
        if (group < number) {
            count = output[params.offsets_at + group + 1u];
        }
        let sum = summed_up(count, at);
        if (group < number) {
            output[params.offsets_at + group + 1u] = before + sum;
        }
        before += line[WIDE - 1u];
        workgroupBarrier();
    }
    if (at == 0u) {
        output[params.offsets_at] = 0u;
    }
}

@compute @workgroup_size(256)
fn place(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_index) at: u32,
) {
    let frame = tile.x * WIDE + at;
    var group = 0u;
    if (frame < params.frames) {
        group = groups[frame];
    }
    line[at] = group;
    workgroupBarrier();
    if (frame >= params.frames) {
        return;
    }
    var earlier = 0u;
    for (var other = 0u; other < at; other++) {
        earlier += u32(line[other] == group);
    }
    let begin = output[params.offsets_at + group] + atomicLoad(&counts[group * params.tiles + tile.x]);
    output[params.order_at + begin + earlier] = frame;
}

// ---- reduction ----

struct Sums {
    volume: vec2<u32>,
    bought: vec2<u32>,
    sold: vec2<u32>,
}

fn plus(a: Sums, b: Sums) -> Sums {
    return Sums(add(a.volume, b.volume), add(a.bought, b.bought), add(a.sold, b.sold));
}

// What a trade adds to the sums; nothing for any other frame.
fn traded(frame: u32) -> Sums {
    let none = vec2<u32>();
    if (kind_of(frame) != TRADE) {
        return Sums(none, none, none);
    }
    let quantity = words[frame * 4u + 2u].zw;
    let side = words[frame * 4u + 3u].z & 0xffu;
    return Sums(quantity, select(none, quantity, side == 1u), select(none, quantity, side == 2u));
}

// A lane's sums where its volume is exactly `boundary`: inside the first trade at a place `from..to` that reaches it.
fn sums_at(boundary: vec2<u32>, from_place: u32, to_place: u32) -> Sums {
    var low = from_place;
    var high = to_place;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (less(sums[middle].volume, boundary)) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    let reached = sums[low];
    let behind = subtract(reached.volume, boundary);
    let side = words[output[params.order_at + low] * 4u + 3u].z & 0xffu;
    var exact = Sums(boundary, reached.bought, reached.sold);
    if (side == 1u) {
        exact.bought = subtract(reached.bought, behind);
    } else if (side == 2u) {
        exact.sold = subtract(reached.sold, behind);
    }
    return exact;
}

// Sums at the end of bucket `number` − 1; before the first one there is nothing.
fn sums_before(number: u32, bucket_volume: vec2<u32>, from_place: u32, to_place: u32) -> Sums {
    if (number == 0u) {
        return Sums(vec2<u32>(), vec2<u32>(), vec2<u32>());
    }
    return sums_at(times(bucket_volume, number), from_place, to_place);
}

var<workgroup> range: vec2<u32>;
var<workgroup> row: array<Sums, 256>;
var<workgroup> completed: atomic<u32>;
// One more than the place in the batch of the last quote.
var<workgroup> quote: atomic<u32>;

fn put(at: u32, value: vec2<u32>) {
    output[at] = value.x;
    output[at + 1u] = value.y;
}

@compute @workgroup_size(256)
fn reduce(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) at: u32) {
    let lane = workgroup.x;
    if (at == 0u) {
        range = vec2<u32>(output[params.offsets_at + lane], output[params.offsets_at + lane + 1u]);
    }
    let places = workgroupUniformLoad(&range);
    let bucket_volume = lanes[lane].yz;
    let begun = progress[lane];
    var total = begun;
    for (var start = places.x; start < places.y; start += WIDE) {
        let own_place = start + at;
        if (own_place < places.y) {
            let frame = output[params.order_at + own_place];
            row[at] = traded(frame);
            if (kind_of(frame) == QUOTE) {
                atomicMax(&quote, frame + 1u);
            }
        } else {
            row[at] = Sums(vec2<u32>(), vec2<u32>(), vec2<u32>());
        }
        workgroupBarrier();
        for (var step = 1u; step < WIDE; step *= 2u) {
            var sum = row[at];
            if (at >= step) {
                sum = plus(sum, row[at - step]);
            }
            workgroupBarrier();
            row[at] = sum;
            workgroupBarrier();
        }
        if (own_place < places.y) {
            sums[own_place] = plus(total, row[at]);
        }
        total = plus(total, row[WIDE - 1u]);
        workgroupBarrier();
    }
    // The sums of all threads are there to be searched.
    storageBarrier();

    let too_much = all(total.volume == LARGEST)
        || !less(total.volume, times(bucket_volume, params.buckets_max + 1u));
    let result = params.lanes_at + lane * (9u + 4u * params.buckets_max);
    for (var bucket = at; bucket < params.buckets_max && !too_much; bucket += WIDE) {
        if (less(total.volume, times(bucket_volume, bucket + 1u))) {
            break;
        }
        let first = sums_before(bucket, bucket_volume, places.x, places.y);
        let last = sums_before(bucket + 1u, bucket_volume, places.x, places.y);
        put(result + 9u + 4u * bucket, subtract(last.bought, first.bought));
        put(result + 11u + 4u * bucket, subtract(last.sold, first.sold));
        atomicMax(&completed, bucket + 1u);
    }
    workgroupBarrier();
    if (at != 0u) {
        return;
    }
    var rest = begun;
    let count = atomicLoad(&completed);
    if (!too_much) {
        let used = sums_before(count, bucket_volume, places.x, places.y);
        rest = Sums(
            subtract(total.volume, used.volume),
            subtract(total.bought, used.bought),
            subtract(total.sold, used.sold),
        );
    }
    progress[lane] = rest;
    output[result] = u32(too_much);
    output[result + 1u] = count;
    output[result + 2u] = atomicLoad(&quote);
    put(result + 3u, rest.volume);
    put(result + 5u, rest.bought);
    put(result + 7u, rest.sold);
}
