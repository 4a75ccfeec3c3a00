"""One reader a file format. Each takes plain keywords and gives a `Collection` by `read()`."""

from picdesk.readers.aligned import Aligned
from picdesk.readers.clip_retrieval import ClipRetrieval
from picdesk.readers.coco import Coco
from picdesk.readers.composed.cirr import Cirr
from picdesk.readers.composed.fashion_iq import FashionIq
from picdesk.readers.flickr8k import Flickr8k
from picdesk.readers.folder import Folder
from picdesk.readers.hugging_face import HuggingFace
from picdesk.readers.karpathy import Karpathy
from picdesk.readers.newsimages import NewsImages
from picdesk.readers.npz import Npz
from picdesk.readers.parquet import Parquet
from picdesk.readers.tables import Csv, Jsonl
from picdesk.readers.webdataset import WebDataset

__all__ = [
    "Aligned",
    "Cirr",
    "ClipRetrieval",
    "Coco",
    "Csv",
    "FashionIq",
    "Flickr8k",
    "Folder",
    "HuggingFace",
    "Jsonl",
    "Karpathy",
    "NewsImages",
    "Npz",
    "Parquet",
    "WebDataset",
]
