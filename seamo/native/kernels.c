/* Hot loops of seamo: checksums, reading, unpacking, cropping. Plain C without Python's interface; `library.py` loads it.
 *
 * Every function is called without Python's lock and keeps nothing; nothing is allocated but by libdeflate. Whoever calls has checked shapes,
 * types and room; what a wrong store could still get wrong (where pixels lie) is checked here once more.
 *
 * Compiled with -ffp-contract=off: a product and a sum are rounded each, unless `fma8` asks for one rounding.
 */

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef SEAMO_SOURCE
#define SEAMO_SOURCE "unknown"
#endif

#define EXPORT __attribute__((visibility("default")))

/* The digest of the source that this was compiled from. */
EXPORT const char *seamo_source(void) { return SEAMO_SOURCE; }

/* Whether this processor has the instructions that this was compiled for. */
EXPORT int seamo_is_supported(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("sse4.2");
#else
    return 1;
#endif
}

/* ---- CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), bits reflected ------------------------------------------- */

#define POLYNOMIAL 0x82F63B78u
#define LONG 4096
#define SHORT 256

static uint32_t crc_byte[256];
static uint32_t after_long[4][256], after_short[4][256];

/* Product of a matrix over bits, one column a bit, with a vector. */
static uint32_t times(const uint32_t *matrix, uint32_t vector)
{
    uint32_t sum = 0;
    for (; vector; vector >>= 1, matrix++)
        if (vector & 1)
            sum ^= *matrix;
    return sum;
}

/* What a checksum becomes when `bytes` zeros follow (bytes: a power of two), as a table for each of its four bytes. */
static void fill_after(uint32_t table[4][256], size_t bytes)
{
    uint32_t step[32], twice[32];
    step[0] = POLYNOMIAL;
    for (int i = 1; i < 32; i++)
        step[i] = 1u << (i - 1); /* one zero bit */
    for (size_t bits = 1; bits < 8 * bytes; bits *= 2) {
        for (int i = 0; i < 32; i++)
            twice[i] = times(step, step[i]);
        memcpy(step, twice, sizeof step);
    }
    for (int place = 0; place < 4; place++)
        for (uint32_t byte = 0; byte < 256; byte++)
            table[place][byte] = times(step, byte << (8 * place));
}

__attribute__((constructor)) static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
        crc_byte[byte] = crc;
    }
    fill_after(after_long, LONG);
    fill_after(after_short, SHORT);
}

#if defined(__SSE4_2__)
static uint64_t word(const uint8_t *data)
{
    uint64_t value;
    memcpy(&value, data, sizeof value);
    return value;
}

static uint32_t shifted(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^ table[3][crc >> 24];
}

/* The instruction takes three cycles and one can begin in each: three stretches at a time, put together at the end. */
static const uint8_t *in_three(const uint8_t *data, size_t *length, uint32_t *crc, size_t stretch, uint32_t table[4][256])
{
    uint64_t first = *crc;
    while (*length >= 3 * stretch) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < stretch; i += 8) {
            first = _mm_crc32_u64(first, word(data + i));
            second = _mm_crc32_u64(second, word(data + stretch + i));
            third = _mm_crc32_u64(third, word(data + 2 * stretch + i));
        }
        first = shifted(table, (uint32_t)first) ^ (uint32_t)second;
        first = shifted(table, (uint32_t)first) ^ (uint32_t)third;
        data += 3 * stretch;
        *length -= 3 * stretch;
    }
    *crc = (uint32_t)first;
    return data;
}
#endif

/* The checksum of some bytes that follow others whose checksum is `before` (0: none). */
EXPORT uint32_t seamo_crc32c(const uint8_t *data, size_t length, uint32_t before)
{
    uint32_t crc = ~before;
#if defined(__SSE4_2__)
    data = in_three(data, &length, &crc, LONG, after_long);
    data = in_three(data, &length, &crc, SHORT, after_short);
    for (; length >= 8; length -= 8, data += 8)
        crc = (uint32_t)_mm_crc32_u64(crc, word(data));
#endif
    for (; length; length--, data++)
        crc = crc_byte[(crc ^ *data) & 255] ^ (crc >> 8);
    return ~crc;
}

/* Read a range of a file and take its checksum while it is in the caches. Returns the bytes read, fewer where the file
 * ends early, or the negative number of an error. */
EXPORT int64_t seamo_read(int file, uint8_t *out, int64_t length, int64_t offset, uint32_t *crc)
{
    int64_t done = 0;
    *crc = 0;
    while (done < length) {
        int64_t want = length - done < 262144 ? length - done : 262144;
        ssize_t got = pread(file, out + done, (size_t)want, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        *crc = seamo_crc32c(out + done, (size_t)got, *crc);
        done += got;
    }
    return done;
}

/* ---- Strips of a TIFF, by a library's inflate ------------------------------------------------------------------------- */

/* libdeflate's own functions (its declarations, version 1): state, input, its length, output, its room, NULL = exactly. */
typedef void *(*AllocInflate)(void);
typedef int (*InflateZlib)(void *, const void *, size_t, void *, size_t, size_t *);
typedef void (*FreeInflate)(void *);

/* Inflate strips one after the other; how many are done before one has another length, is damaged or lies outside.
   Every `each`th strip is the last of its band and has `last` bytes, the others `need`. */
EXPORT int64_t seamo_inflate(AllocInflate alloc, InflateZlib inflate, FreeInflate release, const uint8_t *data, int64_t length,
                             const int64_t *offsets, const int64_t *counts, int64_t strips, int64_t each, int64_t need,
                             int64_t last, uint8_t *out, int64_t room)
{
    void *state = alloc();
    int64_t done = 0, at = 0;
    for (; state && done < strips; done++) {
        int64_t bytes = (done + 1) % each ? need : last, offset = offsets[done], count = counts[done];
        if (offset < 0 || count < 0 || offset > length || count > length - offset || bytes < 0 || bytes > room - at)
            break;
        if (inflate(state, data + offset, (size_t)count, out + at, (size_t)bytes, NULL))
            break;
        at += bytes;
    }
    if (state)
        release(state);
    return done;
}

/* ---- Parts of a chunk of c-blosc 1 that LZ4 has compressed ------------------------------------------------------------ */

/* One block of LZ4 (its block format). 1 if exactly `room` bytes came out of exactly `length`. */
static int unpack_lz4(const uint8_t *in, int64_t length, uint8_t *out, int64_t room)
{
    const uint8_t *in_end = in + length;
    uint8_t *begin = out, *out_end = out + room;
    while (in < in_end) {
        uint8_t token = *in++, more;
        int64_t count = token >> 4;
        if (count == 15)
            do {
                if (in == in_end)
                    return 0;
                count += more = *in++;
            } while (more == 255);
        if (count > in_end - in || count > out_end - out)
            return 0;
        if (count <= 512 && in_end - in >= count + 32 && out_end - out >= count + 32)
            for (int64_t i = 0; i < count; i += 32)
                memcpy(out + i, in + i, 32); /* a call would cost more than up to 31 bytes too many */
        else
            memcpy(out, in, (size_t)count);
        in += count;
        out += count;
        if (in == in_end)
            break; /* the last sequence has no match */
        if (in_end - in < 2)
            return 0;
        int64_t back = in[0] | in[1] << 8;
        in += 2;
        count = token & 15;
        if (count == 15)
            do {
                if (in == in_end)
                    return 0;
                count += more = *in++;
            } while (more == 255);
        count += 4;
        if (back == 0 || back > out - begin || count > out_end - out)
            return 0;
        const uint8_t *from = out - back;
        int64_t room_left = out_end - out - 32, fast = count < room_left ? count : room_left, done = 0;
        if (back == 1) {
            memset(out, *from, (size_t)count);
            done = count;
        } else if (back >= 16) {
            for (; done < fast; done += 16)
                memcpy(out + done, from + done, 16);
        } else if (fast > 0) {
            int64_t period = back;
            for (; period < 8; done += period, period *= 2) /* the stretch that is repeated grows until it has 8 bytes */
                for (int64_t i = 0; i < period; i++)
                    out[done + i] = from[i];
            for (; done < fast; done += 8)
                memcpy(out + done, out + done - period, 8);
        }
        for (; done < count; done++) /* close to the end, where there is no room for too many */
            out[done] = from[done];
        out += count;
    }
    return out == out_end;
}

/* Planes of bytes (`width` of them, `count` long) become numbers of `width` bytes. */
static void join_bytes(const uint8_t *from, int64_t count, int64_t width, uint8_t *to)
{
    if (width == 2) {
        const uint8_t *low = from, *high = from + count;
        for (int64_t i = 0; i < count; i++) {
            to[2 * i] = low[i];
            to[2 * i + 1] = high[i];
        }
    } else if (width == 4) {
        const uint8_t *a = from, *b = a + count, *c = b + count, *d = c + count;
        for (int64_t i = 0; i < count; i++) {
            to[4 * i] = a[i];
            to[4 * i + 1] = b[i];
            to[4 * i + 2] = c[i];
            to[4 * i + 3] = d[i];
        }
    } else {
        for (int64_t plane = 0; plane < width; plane++)
            for (int64_t i = 0; i < count; i++)
                to[i * width + plane] = from[plane * count + i];
    }
}

/* Eight bits of eight bytes change places: bit i of byte k becomes bit k of byte i. */
static inline uint64_t turn_bits(uint64_t x)
{
    uint64_t t = (x ^ x >> 7) & 0x00AA00AA00AA00AAull;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000CCCC0000CCCCull;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000F0F0F0F0ull;
    return x ^ t ^ t << 28;
}

#if defined(__AVX2__)
#define SWAP(a, b, by, mask)                                                                 \
    do {                                                                                     \
        __m256i t = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(a, by), b), mask); \
        b = _mm256_xor_si256(b, t);                                                          \
        a = _mm256_xor_si256(a, _mm256_slli_epi16(t, by));                                 \
    } while (0)

/* The same for 32 places in each of eight rows of bytes, `stride` apart; 256 bytes come out. */
static void turn_bits_32(const uint8_t *from, int64_t stride, uint8_t *to)
{
    const __m256i four = _mm256_set1_epi8(0x0F), two = _mm256_set1_epi8(0x33), one = _mm256_set1_epi8(0x55);
    __m256i v[8], w[8];
    for (int k = 0; k < 8; k++)
        v[k] = _mm256_loadu_si256((const __m256i *)(from + k * stride));
    for (int k = 0; k < 4; k++)
        SWAP(v[k], v[k + 4], 4, four);
    for (int k = 0; k < 8; k += 4)
        for (int j = k; j < k + 2; j++)
            SWAP(v[j], v[j + 2], 2, two);
    for (int k = 0; k < 8; k += 2)
        SWAP(v[k], v[k + 1], 1, one);
    /* Now v[i] holds, for each place, the byte of its i-th number: interleave them. */
    for (int k = 0; k < 4; k++) {
        w[k] = _mm256_unpacklo_epi8(v[2 * k], v[2 * k + 1]);
        w[k + 4] = _mm256_unpackhi_epi8(v[2 * k], v[2 * k + 1]);
    }
    for (int k = 0; k < 8; k += 2) {
        v[k] = _mm256_unpacklo_epi16(w[k], w[k + 1]);
        v[k + 1] = _mm256_unpackhi_epi16(w[k], w[k + 1]);
    }
    for (int k = 0; k < 8; k += 4)
        for (int j = 0; j < 2; j++) {
            w[k + 2 * j] = _mm256_unpacklo_epi32(v[k + j], v[k + j + 2]);
            w[k + 2 * j + 1] = _mm256_unpackhi_epi32(v[k + j], v[k + j + 2]);
        }
    /* Each half of a register went its own way: the lower halves first. */
    for (int k = 0; k < 8; k += 2) {
        _mm256_storeu_si256((__m256i *)(to + 16 * k), _mm256_permute2x128_si256(w[k], w[k + 1], 0x20));
        _mm256_storeu_si256((__m256i *)(to + 128 + 16 * k), _mm256_permute2x128_si256(w[k], w[k + 1], 0x31));
    }
}
#endif

/* Planes of bits become planes of bytes; count: numbers, a multiple of 8. */
static void join_bits(const uint8_t *from, int64_t count, int64_t width, uint8_t *to)
{
    int64_t stride = count / 8;
    for (int64_t plane = 0; plane < width; plane++, from += 8 * stride, to += count) {
        int64_t g = 0;
#if defined(__AVX2__)
        for (; g + 32 <= stride; g += 32)
            turn_bits_32(from + g, stride, to + 8 * g);
#endif
        for (; g < stride; g++) {
            uint64_t x = 0;
            for (int k = 0; k < 8; k++)
                x |= (uint64_t)from[k * stride + g] << (8 * k);
            x = turn_bits(x);
            for (int i = 0; i < 8; i++)
                to[8 * g + i] = (uint8_t)(x >> (8 * i));
        }
    }
}

static uint32_t little(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

enum { SHUFFLED = 1, COPIED = 2, BITS_SHUFFLED = 4, NOT_SPLIT = 16, LZ4 = 1 };

/* One block: its pieces are unpacked into `packed`, and put in order in `out`. 1 if that went well. */
static int unpack_block(const uint8_t *chunk, int64_t length, int64_t at, int64_t size, int is_last, uint8_t *packed,
                        uint8_t *bytes, uint8_t *out)
{
    int flags = chunk[2], width = chunk[3] ? chunk[3] : 1;
    int is_split = !(flags & NOT_SPLIT) && !is_last && width <= 16 && size / width >= 128;
    int64_t pieces = is_split ? width : 1, piece = size / pieces;
    int shuffled = (flags & SHUFFLED) && width > 1, bits = !shuffled && (flags & BITS_SHUFFLED) && size >= width;
    uint8_t *to = shuffled || bits ? packed : out;
    for (int64_t i = 0; i < pieces; i++) {
        if (at < 16 || at > length - 4)
            return 0;
        int64_t stored = (int32_t)little(chunk + at);
        at += 4;
        if (stored < 0 || stored > length - at)
            return 0;
        if (stored == piece)
            memcpy(to + i * piece, chunk + at, (size_t)piece);
        else if (!unpack_lz4(chunk + at, stored, to + i * piece, piece))
            return 0;
        at += stored;
    }
    int64_t count = size / width;
    if (bits && count % 8) {
        memcpy(out, packed, (size_t)size); /* what is no multiple of eight was left as it is */
    } else if (shuffled || bits) {
        if (bits)
            join_bits(packed, count, width, bytes);
        join_bytes(bits ? bytes : packed, count, width, out);
        memcpy(out + count * width, packed + count * width, (size_t)(size - count * width));
    }
    return 1;
}

/* Bytes start <= i < start + count of what a chunk holds. Returns 1; 0 if the chunk is damaged; -1 if it is of a kind that
 * this does not read. scratch: three blocks (bytes 8 to 11 of the chunk) long. */
EXPORT int seamo_unblosc(const uint8_t *chunk, int64_t length, int64_t start, int64_t count, uint8_t *out, uint8_t *scratch,
                         int64_t room)
{
    if (length < 16)
        return 0;
    int64_t total = little(chunk + 4), block = little(chunk + 8);
    int flags = chunk[2];
    if (little(chunk + 12) != (uint32_t)length || start < 0 || count < 0 || start > total - count)
        return 0;
    if (flags & COPIED) {
        if (total != length - 16)
            return 0;
        memcpy(out, chunk + 16 + start, (size_t)count);
        return 1;
    }
    if (chunk[0] != 2 || flags >> 5 != LZ4)
        return -1;
    if (block < 1 || 3 * block > room)
        return block < 1 ? 0 : -1;
    int64_t blocks = (total + block - 1) / block;
    if (16 + 4 * blocks > length)
        return 0;
    for (int64_t k = start / block; k * block < start + count; k++) {
        int64_t first = k * block, size = total - first < block ? total - first : block;
        int64_t low = start > first ? start : first, high = start + count < first + size ? start + count : first + size;
        int whole = low == first && high == first + size;
        uint8_t *to = whole ? out + (first - start) : scratch + 2 * block;
        if (!unpack_block(chunk, length, (int32_t)little(chunk + 16 + 4 * k), size, size < block, scratch, scratch + block, to))
            return 0;
        if (!whole)
            memcpy(out + (low - start), to + (low - first), (size_t)(high - low));
    }
    return 1;
}

/* ---- Crop, flip, resize, scale: `seamo.data.crops` in one pass --------------------------------------------------------- */

#define LANES 8
#define BLOCK 16 /* output rows at a time */
#define WIDE 32  /* columns at a time */
#define EDGE 1e-6 /* of a pixel: a box that ends on a pixel's border does not touch the next one */

typedef float v8 __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef float anywhere8 __attribute__((vector_size(32), aligned(4), may_alias));

static inline v8 load8(const float *from) { return *(const anywhere8 *)from; }
static inline void store8(float *to, v8 value) { *(anywhere8 *)to = value; }
static inline v8 all8(float x) { return (v8){x, x, x, x, x, x, x, x}; }

static inline v8 chosen8(v8i where, v8 yes, v8 no) { return (v8)((where & (v8i)yes) | (~where & (v8i)no)); }

/* To the nearest whole number, to the even one of two. */
static inline v8 rounded8(v8 v)
{
#if defined(__AVX__)
    return (v8)_mm256_round_ps((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    for (int i = 0; i < LANES; i++)
        v[i] = rintf(v[i]);
    return v;
#endif
}

static inline v8 fma8(v8 a, v8 b, v8 c)
{
#if defined(__FMA__)
    return (v8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Columns of 8 rows become rows: to[x * to_stride + y] = from[y * from_stride + x]. */
static inline void transpose8(const float *from, int64_t from_stride, float *to, int64_t to_stride)
{
#if defined(__AVX__)
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i++)
        a[i] = _mm256_loadu_ps(from + i * from_stride);
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            a[i + 2 * j] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0x44);
            a[i + 2 * j + 1] = _mm256_shuffle_ps(b[i + j], b[i + j + 2], 0xEE);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
#else
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 8; x++)
            to[x * to_stride + y] = from[y * from_stride + x];
#endif
}

/* How one axis is cut and resized; see `seamo.data.crops.resize_taps`. */
typedef struct {
    int32_t *first; /* (S,) first source pixel */
    int32_t *count; /* (S,) source pixels */
    float *weight;  /* (S, room) */
    int64_t room;
    int64_t low, high; /* source pixels that are used: low <= i < high */
} Axis;

/* Cubic convolution with a = -0.5 (Keys 1981). */
static inline float bicubic(float distance)
{
    float x = fabsf(distance), near, far;
    x = x < 2.0f ? x : 2.0f;
    near = (1.5f * x - 2.5f) * x * x + 1.0f;
    far = ((2.5f - 0.5f * x) * x - 4.0f) * x + 2.0f;
    return x < 1.0f ? near : far;
}

static void fill_axis(Axis *axis, double start, double extent, int64_t source, int64_t size, int flip)
{
    double scale = extent / (double)size, widened = scale > 1.0 ? scale : 1.0, end = start + extent;
    int64_t lowest = (int64_t)floor(start + EDGE), highest = (int64_t)ceil(end - EDGE) - 1;
    int64_t reach = (int64_t)ceil(4.0 * ((double)source / (double)size > 1.0 ? (double)source / (double)size : 1.0)) + 1;
    float wide = (float)widened;
    lowest = lowest > 0 ? lowest : 0;
    highest = highest < source - 1 ? highest : source - 1;
    lowest = lowest < highest ? lowest : highest;
    axis->low = source;
    axis->high = 0;
    for (int64_t i = 0; i < size; i++) {
        int64_t at = flip ? size - 1 - i : i;
        double centre = start + ((double)at + 0.5) * scale, whole = floor(centre);
        int64_t first = (int64_t)floor(centre - 2.0 * widened + 0.5), last = first + reach - 1;
        float part = (float)(0.5 - (centre - whole)), sum = 0.0f, *weight = axis->weight + i * axis->room;
        first = first > lowest ? first : lowest;
        last = last < highest ? last : highest;
        if (last < first) /* no box that was checked comes here */
            first = last = lowest;
        int64_t count = last - first + 1;
        float from = (float)(first - (int64_t)whole);
        for (int64_t k = 0; k < count; k++)
            weight[k] = bicubic((from + (float)k + part) / wide);
        for (int64_t k = 0; k < count; k++)
            sum += weight[k];
        for (int64_t k = 0; k < count; k++)
            weight[k] /= sum;
        /* Zeros at the ends would only cost time. */
        while (count > 1 && weight[count - 1] == 0.0f)
            count--;
        int64_t skipped = 0;
        while (skipped < count - 1 && weight[skipped] == 0.0f)
            skipped++;
        if (skipped)
            memmove(weight, weight + skipped, (size_t)(count - skipped) * sizeof *weight);
        axis->first[i] = (int32_t)(first + skipped);
        axis->count[i] = (int32_t)(count - skipped);
        axis->low = axis->first[i] < axis->low ? axis->first[i] : axis->low;
        axis->high = axis->first[i] + axis->count[i] > axis->high ? axis->first[i] + axis->count[i] : axis->high;
    }
}

enum { UINT8, UINT16, INT16, FLOAT32 };

/* Rows of a band as float32, and whether one of its pixels is no measurement. `look`: 1 compare with `fill`, 2 not finite. */
#define CONVERT(TYPE)                                                                                                     \
    static int convert_##TYPE(const TYPE *from, int64_t stride, int64_t rows, int64_t cols, float *to, int64_t to_stride, \
                              int look, float fill)                                                                      \
    {                                                                                                                     \
        int32_t found = 0;                                                                                                \
        for (int64_t y = 0; y < rows; y++) {                                                                              \
            const TYPE *row = from + y * stride;                                                                          \
            float *out = to + y * to_stride;                                                                              \
            for (int64_t x = 0; x < cols; x++)                                                                            \
                out[x] = (float)row[x];                                                                                   \
            if (look & 1)                                                                                                 \
                for (int64_t x = 0; x < cols; x++)                                                                        \
                    found |= out[x] == fill;                                                                              \
            if (look & 2)                                                                                                 \
                for (int64_t x = 0; x < cols; x++)                                                                        \
                    found |= !(fabsf(out[x]) <= 3.4028234663852886e38f);                                                  \
            for (int64_t x = cols; x < to_stride; x++)                                                                    \
                out[x] = 0.0f;                                                                                            \
        }                                                                                                                 \
        return found;                                                                                                     \
    }
CONVERT(uint8_t)
CONVERT(uint16_t)
CONVERT(int16_t)
CONVERT(float)

static int convert(const void *band, int type, int64_t w, const Axis *rows, const Axis *cols, float *to, int64_t stride,
                   int look, float fill)
{
    int64_t start = rows->low * w + cols->low, height = rows->high - rows->low, width = cols->high - cols->low;
    switch (type) {
    case UINT8:
        return convert_uint8_t((const uint8_t *)band + start, w, height, width, to, stride, look, fill);
    case UINT16:
        return convert_uint16_t((const uint16_t *)band + start, w, height, width, to, stride, look, fill);
    case INT16:
        return convert_int16_t((const int16_t *)band + start, w, height, width, to, stride, look, fill);
    default:
        return convert_float((const float *)band + start, w, height, width, to, stride, look, fill);
    }
}

/* Weighted sums of rows: one row of `to` for each of `count` output rows from `begin` on. */
static void sum_rows(const float *from, int64_t stride, const Axis *rows, int64_t begin, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++) {
        const float *weight = rows->weight + (begin + i) * rows->room;
        const float *first = from + (rows->first[begin + i] - rows->low) * stride;
        int64_t taps = rows->count[begin + i];
        for (int64_t x = 0; x < stride; x += WIDE) {
            const float *at = first + x;
            v8 a = {0}, b = {0}, c = {0}, d = {0};
            for (int64_t k = 0; k < taps; k++, at += stride) {
                v8 w = all8(weight[k]);
                a = fma8(w, load8(at), a);
                b = fma8(w, load8(at + 8), b);
                c = fma8(w, load8(at + 16), c);
                d = fma8(w, load8(at + 24), d);
            }
            float *out = to + i * stride + x;
            store8(out, a);
            store8(out + 8, b);
            store8(out + 16, c);
            store8(out + 24, d);
        }
    }
    return 1;
}

/* What is done to a resized number: v * factor + shift; then clipped to 0..1; then rounded to multiples of 1/255. */
enum { AFFINE, CLIPPED, EIGHT_BIT };

static inline v8 scaled(v8 v, v8 factor, v8 shift, int rule)
{
    const v8 zero = all8(0.0f), one = all8(1.0f);
    v = fma8(v, factor, shift);
    if (rule == AFFINE)
        return v;
    v = chosen8(v < zero, zero, v); /* NaN stays */
    v = chosen8(v > one, one, v);
    return rule == EIGHT_BIT ? rounded8(v * all8(255.0f)) / all8(255.0f) : v;
}

/* The same along rows, of BLOCK rows that lie as columns: from[x][BLOCK] -> to[j][BLOCK]. */
static void sum_columns(const float *from, const Axis *cols, int64_t size, float factor, float shift, int rule, float *to)
{
    v8 m = all8(factor), s = all8(shift);
    for (int64_t j = 0; j < size; j++) {
        const float *weight = cols->weight + j * cols->room;
        const float *at = from + (cols->first[j] - cols->low) * BLOCK;
        v8 a = {0}, b = {0};
        for (int64_t k = 0; k < cols->count[j]; k++, at += BLOCK) {
            v8 w = all8(weight[k]);
            a = fma8(w, load8(at), a);
            b = fma8(w, load8(at + 8), b);
        }
        store8(to + j * BLOCK, scaled(a, m, s, rule));
        store8(to + j * BLOCK + 8, scaled(b, m, s, rule));
    }
}

static int64_t padded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int64_t taps_room(int64_t source, int64_t size)
{
    double ratio = (double)source / (double)size;
    return padded((int64_t)ceil(4.0 * (ratio > 1.0 ? ratio : 1.0)) + 1, LANES);
}

/* Floats of scratch that `seamo_crop` needs. */
EXPORT int64_t seamo_crop_scratch(int64_t h, int64_t w, int64_t size)
{
    int64_t stride = padded(w, WIDE), wide = padded(size, LANES);
    return size * (taps_room(h, size) + taps_room(w, size) + 4) /* axes */
           + h * stride                                        /* the crop as float32 */
           + 2 * BLOCK * stride                                /* summed rows, and transposed */
           + 2 * BLOCK * wide;                                 /* summed columns, and transposed */
}

/* Crop, flip, resize and scale bands of T images of one layer.
 *
 * pixels: (T, C, h, w). use: (T,) which images; box: (used, 4) top, left, height, width as shares; flip: (used,).
 * look: (used,), as `convert`. Band n goes from channel source[n] to channel place[n] of out: (used, out_bands, S, S),
 * times factor[n], plus shift[n]. holes: (used,), set where a pixel of an image's crop is no measurement.
 * Returns 0, and does nothing, where a date, channel or box lies outside.
 */
EXPORT int seamo_crop(const void *pixels, int type, int64_t T, int64_t C, int64_t h, int64_t w, int64_t used, const int32_t *use,
                          const double *box, const uint8_t *flip, const uint8_t *look, float fill, int64_t bands,
                          const int32_t *source, const int32_t *place, const float *factor, const float *shift, int rule,
                          int64_t size, int64_t out_bands, float *out, uint8_t *holes, float *scratch)
{
    static const int64_t bytes[] = {1, 2, 2, 4};
    int64_t wide = padded(size, LANES);
    for (int64_t t = 0; t < used; t++) {
        const double *b = box + 4 * t;
        if (use[t] < 0 || use[t] >= T)
            return 0;
        for (int axis = 0; axis < 2; axis++) /* NaN is outside, too */
            if (!(b[axis] >= 0.0 && b[axis + 2] > 0.0 && b[axis] + b[axis + 2] <= 1.0 + 1e-9))
                return 0;
    }
    for (int64_t n = 0; n < bands; n++)
        if (source[n] < 0 || source[n] >= C || place[n] < 0 || place[n] >= out_bands)
            return 0;
    Axis rows = {.room = taps_room(h, size)}, cols = {.room = taps_room(w, size)};
    rows.first = (int32_t *)scratch;
    rows.count = rows.first + size;
    cols.first = rows.count + size;
    cols.count = cols.first + size;
    rows.weight = scratch + 4 * size;
    cols.weight = rows.weight + size * rows.room;
    float *image = cols.weight + size * cols.room;
    for (int64_t t = 0; t < used; t++) {
        const double *b = box + 4 * t;
        fill_axis(&rows, b[0] * (double)h, b[2] * (double)h, h, size, 0);
        fill_axis(&cols, b[1] * (double)w, b[3] * (double)w, w, size, flip[t]);
        int64_t stride = padded(cols.high - cols.low, WIDE);
        float *summed = image + (rows.high - rows.low) * stride, *turned = summed + BLOCK * stride;
        float *made = turned + BLOCK * stride, *back = made + BLOCK * wide;
        memset(made, 0, (size_t)(BLOCK * wide) * sizeof *made);
        holes[t] = 0;
        for (int64_t n = 0; n < bands; n++) {
            const char *band = (const char *)pixels + ((int64_t)use[t] * C + source[n]) * h * w * bytes[type];
            float *target = out + (t * out_bands + place[n]) * size * size;
            holes[t] |= (uint8_t)convert(band, type, w, &rows, &cols, image, stride, look[t], fill);
            for (int64_t begin = 0; begin < size; begin += BLOCK) {
                int64_t count = size - begin < BLOCK ? size - begin : BLOCK;
                if (count < BLOCK)
                    memset(summed, 0, (size_t)(BLOCK * stride) * sizeof *summed);
                sum_rows(image, stride, &rows, begin, count, summed);
                for (int64_t x = 0; x < stride; x += LANES) {
                    transpose8(summed + x, stride, turned + x * BLOCK, BLOCK);
                    transpose8(summed + LANES * stride + x, stride, turned + x * BLOCK + LANES, BLOCK);
                }
                sum_columns(turned, &cols, size, factor[n], shift[n], rule, made);
                int straight = count == BLOCK && size % LANES == 0;
                float *to = straight ? target + begin * size : back;
                int64_t to_stride = straight ? size : wide;
                for (int64_t j = 0; j < size; j += LANES) {
                    transpose8(made + j * BLOCK, BLOCK, to + j, to_stride);
                    transpose8(made + j * BLOCK + LANES, BLOCK, to + LANES * to_stride + j, to_stride);
                }
                if (!straight)
                    for (int64_t i = 0; i < count; i++)
                        memcpy(target + (begin + i) * size, back + i * wide, (size_t)size * sizeof *target);
            }
        }
    }
    return 1;
}

/* ---- Packed layers: whole steps of 16 bits to floats ------------------------------------------------------------------- */

/* out[i] = stored[i] * scale + offset in doubles, rounded to a float; NaN where stored[i] is `missing`. */
EXPORT void seamo_widen(const int16_t *stored, int64_t n, double scale, double offset, int missing, float *out)
{
    for (int64_t i = 0; i < n; i++) {
        float value = (float)((double)stored[i] * scale + offset);
        out[i] = stored[i] == missing ? NAN : value;
    }
}

/* ---- Statistics: `seamo.stats` in one pass ----------------------------------------------------------------------------- */

#define BINS 65536
#define AT_ONCE 1024 /* floats whose bins are worked out together */

#define STRAIGHT 128 /* numbers that are added without halving */

static int64_t half_of(int64_t n) { return n / 2 - n / 2 % 8; }

/* The sum of numbers in the order in which numpy adds them, so that the last bits are the same: halves, of a multiple of
 * eight, down to 128 numbers; of those eight sums, and one by one what is left. */
static double pairwise(const double *values, int64_t n)
{
    if (n > STRAIGHT)
        return pairwise(values, half_of(n)) + pairwise(values + half_of(n), n - half_of(n));
    double sum = 0.0, r[8];
    int64_t i = 0;
    if (n >= 8) {
        memcpy(r, values, sizeof r);
        for (i = 8; i + 8 <= n; i += 8)
            for (int64_t j = 0; j < 8; j++)
                r[j] += values[i + j];
        sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    }
    for (; i < n; i++)
        sum += values[i];
    return sum;
}

/* The same of floats as doubles, or of their squared differences from `mean`. */
static double pairwise_floats(const float *values, int64_t n, double mean, int squared)
{
    if (n > STRAIGHT)
        return pairwise_floats(values, half_of(n), mean, squared)
               + pairwise_floats(values + half_of(n), n - half_of(n), mean, squared);
    double terms[STRAIGHT];
    for (int64_t i = 0; i < n; i++)
        terms[i] = (double)values[i];
    if (squared)
        for (int64_t i = 0; i < n; i++)
            terms[i] = (terms[i] - mean) * (terms[i] - mean);
    return pairwise(terms, n);
}

static int32_t bin_of(double value, double start, double step)
{
    double at = (value - start) / step + 1e-6; /* as `seamo.stats` writes it, with the floor in the conversion */
    at = at > 0.0 ? at : 0.0;
    return (int32_t)(at < BINS - 1 ? at : BINS - 1);
}

/* Mean and sum of squared differences from it, and a histogram, of finite numbers between low and high.
 * counts: BINS, added to. tables: 2 * BINS. */
EXPORT void seamo_float_moments(const float *values, int64_t n, double low, double high, double start, double step,
                                int64_t *counts, uint32_t *tables, double *mean, double *m2)
{
    int32_t first = bin_of(low, start, step), last = bin_of(high, start, step), bins[AT_ONCE];
    uint32_t *even = tables, *odd = tables + BINS;
    if (first > last)
        return;
    memset(even + first, 0, (size_t)(last - first + 1) * sizeof *even);
    memset(odd + first, 0, (size_t)(last - first + 1) * sizeof *odd);
    for (int64_t begin = 0; begin < n; begin += AT_ONCE) {
        int64_t count = n - begin < AT_ONCE ? n - begin : AT_ONCE;
        for (int64_t i = 0; i < count; i++)
            bins[i] = bin_of((double)values[begin + i], start, step);
        for (int64_t i = 0; i + 1 < count; i += 2) { /* neighbours are alike: two tables, so that none waits */
            even[bins[i]]++;
            odd[bins[i + 1]]++;
        }
        if (count % 2)
            even[bins[count - 1]]++;
    }
    for (int32_t b = first; b <= last; b++)
        counts[b] += (int64_t)even[b] + odd[b];
    *mean = (0.0 + pairwise_floats(values, n, 0.0, 0)) / (double)n; /* numpy begins with 0: never -0 */
    *m2 = pairwise_floats(values, n, *mean, 1);
}

/* Count 8-byte words of pixels into four tables of `width`. */
static void count_bytes(const uint8_t *pixels, int64_t n, uint32_t *tables, int64_t width)
{
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int64_t k = 0; k < 4; k++)
            tables[k * width + pixels[i + k]]++;
    for (; i < n; i++)
        tables[pixels[i]]++;
}

static void count_shorts(const uint16_t *pixels, int64_t n, uint16_t flip, uint32_t *tables, int64_t width)
{
    uint64_t flips = flip * 0x0001000100010001ull;
    uint32_t *second = tables + width, *third = second + width, *fourth = third + width;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t four;
        memcpy(&four, pixels + i, sizeof four);
        four ^= flips;
        tables[four & 0xFFFF]++;
        second[four >> 16 & 0xFFFF]++;
        third[four >> 32 & 0xFFFF]++;
        fourth[four >> 48]++;
    }
    for (; i < n; i++)
        tables[pixels[i] ^ flip]++;
}

/* Moments and histograms of every band of one image of whole numbers.
 *
 * pixels: (T, C, plane), type: 0 uint8, 1 uint16, 2 int16. fill: the bin that is not counted, or -1. counts: (C, BINS),
 * added to. found: (5, C) count, mean, m2, low, high, where a band without pixels keeps what is there. width: bins up to
 * the largest value. tables: 4 * width. room: 3 * width. Bin b is the value b, of int16 b - 32768. */
EXPORT void seamo_integer_moments(const void *pixels, int type, int64_t T, int64_t C, int64_t plane, int64_t fill,
                                  int64_t *counts, double *found, int64_t width, uint32_t *tables, double *room)
{
    double shift = type == 2 ? 32768.0 : 0.0, *times = room, *values = times + width, *terms = values + width;
    for (int64_t c = 0; c < C; c++) {
        memset(tables, 0, (size_t)(4 * width) * sizeof *tables);
        for (int64_t t = 0; t < T; t++) {
            int64_t at = (t * C + c) * plane;
            if (type == 0)
                count_bytes((const uint8_t *)pixels + at, plane, tables, width);
            else
                count_shorts((const uint16_t *)pixels + at, plane, type == 2 ? 0x8000 : 0, tables, width);
        }
        int64_t n = 0, pieces = 0;
        for (int64_t b = 0; b < width; b++) {
            uint32_t count = tables[b] + tables[width + b] + tables[2 * width + b] + tables[3 * width + b];
            if (!count || b == fill)
                continue;
            counts[c * BINS + b] += count;
            n += count;
            times[pieces] = count;
            values[pieces++] = (double)b - shift;
        }
        if (!n)
            continue;
        for (int64_t i = 0; i < pieces; i++)
            terms[i] = times[i] * values[i];
        double mean = (0.0 + pairwise(terms, pieces)) / (double)n;
        for (int64_t i = 0; i < pieces; i++)
            terms[i] = times[i] * ((values[i] - mean) * (values[i] - mean));
        found[c] = (double)n;
        found[C + c] = mean;
        found[2 * C + c] = pairwise(terms, pieces);
        found[3 * C + c] = values[0];
        found[4 * C + c] = values[pieces - 1];
    }
}
