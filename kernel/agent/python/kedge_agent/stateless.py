"""Native packages that keep no state of their own between calls, as far as a program can observe.

Reviewed by one question: does a call change what a later, unrelated call gives, other than through an object
that the program holds, a file, a random stream, or an option that an ambient adapter knows? Caches, pools of
threads and of memory, and counters that only people read do not count. Left out, because a module of theirs
holds a connection, session, graph, context, interpreter or registry: duckdb, tensorflow, keras, cupy, pycuda,
jpype, pyspark, rpy2, ray, gurobipy, cplex, mosek, ROOT, vtk, pygame, PyQt5, PyQt6, PySide6, wx, psycopg2,
MySQLdb, oracledb, pyodbc, grpc, mpi4py, petsc4py, osgeo, triton, tensorrt. Names are those of imports.
"""
from __future__ import annotations

PACKAGES = frozenset("""
numpy scipy pandas polars pyarrow matplotlib sklearn skimage statsmodels torch torchvision torchaudio jax jaxlib
ml_dtypes numba llvmlite numexpr bottleneck Cython cffi _cffi_backend cytoolz cymem preshed murmurhash blis thinc
srsly spacy spacy_legacy gensim sentencepiece tokenizers tiktoken safetensors xgboost lightgbm catboost shap interpret
hdbscan umap pynndescent annoy hnswlib nmslib faiss implicit lightfm treelite daal4py onedal hmmlearn pmdarima tslearn
stumpy ruptures dtaidistance fastdtw glum tabmat quadprog osqp qdldl ecos scs clarabel cvxopt highspy ortools
pyscipopt ot networkit igraph leidenalg louvain graph_tool pygraphviz pymetis rustworkx retworkx shapely pyproj fiona
pyogrio rasterio rtree cartopy pyresample h3 netCDF4 cftime h5py hdf5plugin tables numcodecs blosc blosc2 zfpy eccodes
fastparquet cramjam fastavro deltalake lance tantivy lmdb plyvel pyreadstat PIL cv2 imagecodecs pikepdf fitz pymupdf
pypdfium2 reportlab fontTools freetype cairo wordcloud contourpy kiwisolver soundfile _soundfile soxr talib pywt
pyfftw finufft ducc0 mkl mkl_fft mkl_random astropy erfa healpy photutils reproject sep fitsio ephem rdkit openbabel
openmm mdtraj MDAnalysis spglib pymatgen phonopy pyscf Bio pysam cyvcf2 biotite parasail edlib pybedtools skbio dipy
SimpleITK itk open3d regex re2 Levenshtein rapidfuzz jellyfish editdistance unicodedata2 cchardet charset_normalizer
faust_cchardet lxml selectolax markupsafe yaml _yaml ruamel_yaml _ruamel_yaml orjson ujson simplejson rapidjson
msgpack msgspec pydantic_core jiter cbor2 bson pyrsistent pvectorc wcwidth xxhash mmh3 cityhash farmhash crc32c
google_crc32c blake3 argon2 _argon2_cffi_bindings bcrypt nacl cryptography Crypto Cryptodome brotli _brotli zstandard
zstd lz4 snappy isal indexed_gzip lzo backports gmpy2 flint symengine sksparse pyamg scikits pykdtree pyhull
tree_sitter rjieba rpds wrapt multidict yarl frozenlist propcache aiohttp httptools uvloop websockets greenlet gevent
zmq tornado watchfiles psutil debugpy line_profiler bitarray intbitset ndindex fastrlock frozendict immutables
pyroaring lapjv lap pyclipper triangle meshpy pycosat pysat sqlalchemy pyemd george celerite galsim pygit2 vaex
nanoarrow arro3
""".split())
