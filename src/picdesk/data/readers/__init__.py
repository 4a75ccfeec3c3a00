"""One reader a file format. Each takes plain keywords and gives a `Collection` by `read()`."""

from picdesk.data.readers.flickr8k import Flickr8k
from picdesk.data.readers.newsimages import NewsImages
from picdesk.data.readers.parquet import Parquet

__all__ = ["Flickr8k", "NewsImages", "Parquet"]
