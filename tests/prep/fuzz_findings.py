"""Inputs that once ended in a foreign exception, a crash or without an end, by reader, in base 85."""

FINDINGS: dict[str, list[bytes]] = {
    "tiff": [
        # a height that has no value
        b"Nl7XI2mk;80{{R40{{U4000F5000320{{R300000000pI1ONd5000O800000000",
    ],
}
