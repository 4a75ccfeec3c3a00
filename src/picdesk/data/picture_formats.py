"""Which pictures can be read, told by their first bytes, and by the endings that their names usually have."""

import functools
import importlib

ENDINGS = (
    *("jpg", "jpeg", "jpe", "jfif", "png", "apng", "gif", "webp", "bmp", "dib", "tif", "tiff", "avif"),
    *("jp2", "j2k", "jpx", "ppm", "pgm", "pbm", "pnm", "pfm", "ico", "heic", "heif", "hif", "jxl"),
)
UNREAD = (  # pictures too, which nothing here reads
    *("svg", "eps", "psd", "tga", "exr", "hdr", "xcf", "pcx", "dds", "wmf", "emf", "jxr"),
    *("cr2", "cr3", "nef", "arw", "dng", "raw"),
)
PLUGINS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
EXTRA = "pip install 'picdesk[formats]'"
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"),
    "JPEG2000": (b"\xffO\xffQ", b"\0\0\0\x0cjP"),
    "ICO": (b"\0\0\1\0",),
    "JXL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
}
DIB_HEADER = b"(\0\0\0"
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}


def format_of(head: bytes) -> str | None:
    """Name of the format that the first 64 bytes are of; None for anything that is no picture of a known format."""
    if head.startswith(b"RIFF"):
        return "WEBP" if head[8:12] == b"WEBP" else None
    if head[4:8] == b"ftyp":  # AVIF and HEIF, but also films: the brands tell
        end = min(int.from_bytes(head[:4], "big"), 64)
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
        return "AVIF" if brands & AVIF_BRANDS else "HEIF" if brands & HEIF_BRANDS else None
    if head.startswith(DIB_HEADER) and head[12:14] == b"\1\0":  # a BMP without its file header
        return "DIB"
    return next((name for name, starts in MAGIC.items() if head.startswith(starts)), None)


@functools.cache
def has_plugin(name: str) -> bool:
    """Whether a format that Pillow does not read by itself can be read here; at the first call its plugin is loaded."""
    try:
        plugin = importlib.import_module(PLUGINS[name])
    except ImportError:
        return False
    if name == "HEIF":
        plugin.register_heif_opener()
    return True
