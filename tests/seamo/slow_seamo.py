"""SeaMo once more, from the paper and the method notes, in plain Python numbers and loops.

Deliberately slow and deliberately apart: no torch, no timm, nothing of `seamo`. Weights come as nested lists under
the names of the state dict. What is absent is left out of the lists instead of being masked.
"""

import math

Vector = list[float]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def add(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def softmax(scores: Vector) -> Vector:
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def mean_of(values: Vector) -> float:
    return sum(values) / len(values)


def sincos(row: float, col: float, width: int) -> Vector:
    quarter = width // 4
    waves = [1 / 10000 ** (i / quarter) for i in range(quarter)]
    across = [math.sin(col * w) for w in waves] + [math.cos(col * w) for w in waves]
    down = [math.sin(row * w) for w in waves] + [math.cos(row * w) for w in waves]
    return across + down


class SlowSeaMo:
    def __init__(self, config: dict, weights: dict):
        self.c, self.w = config, weights
        self.sensors = list(config["bands"])
        self.grid = config["size"] // config["patch"]
        self.num_patches = self.grid**2
        self.num_visible = round(self.num_patches * (1 - config["mask"]["ratio"]))

    # --- layers ---

    def linear(self, name: str, x: Vector) -> Vector:
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return [dot(row, x) + b for row, b in zip(weight, bias, strict=True)]

    def norm(self, name: str, x: Vector) -> Vector:
        mean = mean_of(x)
        spread = math.sqrt(mean_of([(v - mean) ** 2 for v in x]) + 1e-6)
        gain, shift = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return [(v - mean) / spread * g + s for v, g, s in zip(x, gain, shift, strict=True)]

    def mlp(self, name: str, x: Vector) -> Vector:
        hidden = self.linear(f"{name}.fc1", x)
        hidden = [0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in hidden]
        return self.linear(f"{name}.fc2", hidden)

    def attend(self, queries: list[Vector], keys: list[Vector], values: list[Vector], heads: int) -> list[Vector]:
        size = len(queries[0]) // heads
        out = []
        for query in queries:
            joined: Vector = []
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                weights = softmax([dot(query[part], key[part]) / math.sqrt(size) for key in keys])
                for d in range(size):
                    joined.append(sum(weight * value[part][d] for weight, value in zip(weights, values, strict=True)))
            out.append(joined)
        return out

    def block(self, name: str, tokens: list[Vector], heads: int) -> list[Vector]:
        width = len(tokens[0])
        qkv = [self.linear(f"{name}.attn.qkv", self.norm(f"{name}.norm1", x)) for x in tokens]
        queries, keys, values = ([x[i * width : (i + 1) * width] for x in qkv] for i in range(3))
        mixed = self.attend(queries, keys, values, heads)
        tokens = [add(x, self.linear(f"{name}.attn.proj", m)) for x, m in zip(tokens, mixed, strict=True)]
        return [add(x, self.mlp(f"{name}.mlp", self.norm(f"{name}.norm2", x))) for x in tokens]

    def cross(self, name: str, queries: list[Vector], context: list[Vector]) -> list[Vector]:
        width = len(queries[0])
        q = [self.linear(f"{name}.q", x) for x in queries]
        kv = [self.linear(f"{name}.kv", x) for x in context]
        mixed = self.attend(q, [x[:width] for x in kv], [x[width:] for x in kv], self.c["heads"])
        return [self.linear(f"{name}.proj", m) for m in mixed]

    # --- tokens ---

    def patch(self, image: list, index: int, grid_width: int) -> Vector:
        p, row, col = self.c["patch"], index // grid_width, index % grid_width
        return [plane[row * p + i][col * p + j] for plane in image for i in range(p) for j in range(p)]

    def token(self, sensor: str, values: Vector, position: Vector) -> Vector:
        token = add(self.linear(f"tokenizers.{sensor}", values), position)
        return add(token, self.w[f"modality.{sensor}"]) if self.c["modality_embed"] else token

    def position(self, table: str, index: int, width: int) -> Vector:
        if self.c["pos"] == "learned":
            return self.w[table][index]
        return sincos(index // self.grid, index % self.grid, width)

    def encoder(self, tokens: list[Vector]) -> list[Vector]:
        if self.c["cls_token"]:
            tokens = [self.w["encoder.cls"], *tokens]
        for i in range(self.c["depth"]):
            tokens = self.block(f"encoder.blocks.{i}", tokens, self.c["heads"])
        tokens = [self.norm("encoder.norm", x) for x in tokens]
        return tokens[1:] if self.c["cls_token"] else tokens

    def encode(self, images: dict) -> list[Vector]:
        """Whole images of one sample, sensor -> (C, H, W), sine-cosine positions."""
        sequences = []
        for sensor in self.sensors:
            if sensor not in images:
                continue
            h, w = (n // self.c["patch"] for n in (len(images[sensor][0]), len(images[sensor][0][0])))
            sequence = []
            for index in range(h * w):
                # The other grid laid over the trained one, centre on centre.
                row = (index // w + 0.5) / h * self.grid - 0.5
                col = (index % w + 0.5) / w * self.grid - 0.5
                values = self.patch(images[sensor], index, w)
                sequence.append(self.token(sensor, values, sincos(row, col, self.c["dim"])))
            sequences.append(sequence)
        if self.c["strategy"] == "multimodal":
            return self.encoder([token for sequence in sequences for token in sequence])
        return [token for sequence in sequences for token in self.encoder(sequence)]

    # --- one location ---

    def kept(self, noise: Vector) -> list[int]:
        by_noise = sorted(range(self.num_patches), key=lambda index: noise[index])
        return sorted(by_noise[: self.num_visible])

    def features(self, images: dict, kept: dict, t: int) -> dict:
        """Encoder output F of every present sensor of season t."""
        tokens = {}
        for sensor in self.sensors:
            if images[sensor][t] is not None:
                tokens[sensor] = [
                    self.token(
                        sensor,
                        self.patch(images[sensor][t], index, self.grid),
                        self.position("positions.table", index, self.c["dim"]),
                    )
                    for index in kept[sensor][t]
                ]
        if not tokens:
            return {}
        if self.c["strategy"] != "multimodal":
            return {sensor: self.encoder(own) for sensor, own in tokens.items()}
        encoded = self.encoder([token for own in tokens.values() for token in own])
        out = {}
        for sensor in tokens:
            out[sensor], encoded = encoded[: self.num_visible], encoded[self.num_visible :]
        return out

    def fused(self, name: str, own: list[Vector], other: list[Vector] | None, previous: list[Vector] | None):
        """One TM block for one image; None: it cannot be reconstructed."""
        tm = self.c["tm"]
        D = self.c["dim"]
        zero = [[0.0] * D for _ in own]
        normed = [self.norm(f"{name}.norm_own", x) for x in own]
        if tm["variant"] == "algorithm1" and other is None:
            return None
        if tm["mode"] == "fuse" and tm["variant"] == "text":
            context = []
            for part, mark in ((other, "type_other"), (previous, "type_previous")):
                for x in part or []:
                    x = add(x, self.w[f"{name}.{mark}"]) if tm["type_embed"] else x
                    context.append(self.norm(f"{name}.norm_fused", self.linear(f"{name}.fuse", x)))
            update = self.cross(f"{name}.attention", normed, context) if context else zero
        elif tm["mode"] == "fuse":
            query = other
            if previous is not None:
                query = [self.linear(f"{name}.fuse", o + p) for o, p in zip(other, previous, strict=True)]
            query = [self.norm(f"{name}.norm_fused", x) for x in query]
            update = self.cross(f"{name}.attention", query, normed)
        else:
            parts = []
            for part, which in ((other, "other"), (previous, "previous")):
                if part is None:
                    parts.append(zero)
                    continue
                context = [self.norm(f"{name}.norm_{which}", x) for x in part]
                pair = (normed, context) if tm["variant"] == "text" else (context, normed)
                parts.append(self.cross(f"{name}.attention_{which}", *pair))
            if tm["merge"] == "concat":
                update = [self.linear(f"{name}.merge", a + b) for a, b in zip(*parts, strict=True)]
            else:
                update = [add(a, b) for a, b in zip(*parts, strict=True)]
        if tm["variant"] == "text" or tm["residual"] == "value":
            update = [add(x, u) for x, u in zip(own, update, strict=True)]
        return [add(u, self.mlp(f"{name}.mlp", self.norm(f"{name}.norm_mlp", u))) for u in update]

    def decode(self, sensor: str, tokens: list[Vector], kept: list[int]) -> list[Vector]:
        name, width = f"decoders.{sensor}", self.c["decoder"]["width"]
        canvas = []
        for index in range(self.num_patches):
            at = self.w[f"{name}.mask_token"]
            if index in kept:
                at = self.linear(f"{name}.embed", tokens[kept.index(index)])
            canvas.append(add(at, self.position(f"{name}.positions.table", index, width)))
        for i in range(self.c["decoder"]["depth"]):
            canvas = self.block(f"{name}.blocks.{i}", canvas, self.c["decoder"]["heads"])
        return [self.linear(f"{name}.head", self.norm(f"{name}.norm", x)) for x in canvas]

    def target(self, sensor: str, values: Vector) -> Vector:
        if self.c["norm_pix"] == "none":
            return values
        size = len(values)
        if self.c["norm_pix"] == "per_channel":
            size //= len(self.c["bands"][sensor])
        out: Vector = []
        for start in range(0, len(values), size):
            group = values[start : start + size]
            mean = mean_of(group)
            variance = sum((v - mean) ** 2 for v in group) / (len(group) - 1)
            out += [(v - mean) / math.sqrt(variance + 1e-6) for v in group]
        return out

    def location(self, images: dict, noise: list) -> tuple[dict, dict, dict]:
        """One location.

        images: sensor -> list over seasons of (C, H, W) or None; noise: per season (L) or (M, L).
        Returns kept indices, predictions {(sensor, t): (L, P)} and errors {(sensor, t, patch): squared error}.
        """
        seasons, tm = len(noise), self.c["tm"]
        shared = self.c["mask"]["kind"] == "consistent"
        kept = {
            sensor: [self.kept(noise[t] if shared else noise[t][m]) for t in range(seasons)]
            for m, sensor in enumerate(self.sensors)
        }
        encoded = [self.features(images, kept, t) for t in range(seasons)]
        fused: list[dict] = []
        for t in range(seasons):
            fused.append({})
            for sensor in encoded[t]:
                if tm["mode"] == "none":
                    fused[t][sensor] = encoded[t][sensor]
                    continue
                others = [name for name in self.sensors if name != sensor]
                other = encoded[t].get(others[0]) if others else None
                source = encoded if tm["prev"] == "F" else fused
                previous = source[t - 1].get(sensor) if t > 0 else None
                x = encoded[t][sensor]
                for k in range(tm["depth"]):
                    x = self.fused(f"fusion.blocks.{sensor}.{k}", x, other, previous)
                if x is not None:
                    fused[t][sensor] = x
        predictions, errors = {}, {}
        for t in range(seasons):
            for sensor, tokens in fused[t].items():
                predicted = self.decode(sensor, tokens, kept[sensor][t])
                predictions[sensor, t] = predicted
                for index in range(self.num_patches):
                    if index not in kept[sensor][t]:
                        wanted = self.target(sensor, self.patch(images[sensor][t], index, self.grid))
                        misses = [(a - b) ** 2 for a, b in zip(predicted[index], wanted, strict=True)]
                        errors[sensor, t, index] = mean_of(misses)
        return kept, predictions, errors

    def batch(self, images: list[dict], noise: list, bad: set) -> tuple[float, dict, list]:
        """Loss, terms and `location`'s results of several locations.

        `bad` holds (b, sensor, t, patch) that must not count.
        """
        results = [self.location(one, noise[b]) for b, one in enumerate(images)]
        seasons = len(noise[0])
        found: dict = {(sensor, t): [] for sensor in self.sensors for t in range(seasons)}
        for b, result in enumerate(results):
            for (sensor, t, index), error in result[2].items():
                if (b, sensor, t, index) not in bad:
                    found[sensor, t].append(error)
        terms = {key: mean_of(errors) if errors else 0.0 for key, errors in found.items()}
        weights = self.c.get("loss_weight", {})
        return sum(weights.get(sensor, 1.0) * value for (sensor, _), value in terms.items()), terms, results
