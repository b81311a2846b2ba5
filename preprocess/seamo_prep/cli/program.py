"""The program `seamo-prep` with its verbs. Nothing heavy is imported before it is needed."""

from seamo.options import program
from seamo_prep.cli.bench import bench
from seamo_prep.cli.build import build
from seamo_prep.cli.clean import clean
from seamo_prep.cli.copy import copy
from seamo_prep.cli.demo import demo
from seamo_prep.cli.export import export
from seamo_prep.cli.fetch import fetch
from seamo_prep.cli.init import init
from seamo_prep.cli.latest import latest
from seamo_prep.cli.list import list_datasets
from seamo_prep.cli.look import look
from seamo_prep.cli.ls import list_stores
from seamo_prep.cli.public import public
from seamo_prep.cli.rm import remove
from seamo_prep.cli.stats import stats
from seamo_prep.cli.verify import verify

app = program("From published archives to checked stores.")
app.command("list")(list_datasets)
app.command()(fetch)
app.command()(init)
app.command()(build)
app.command()(copy)
app.command()(verify)
app.command()(stats)
app.command()(bench)
app.command("ls")(list_stores)
app.command()(latest)
app.command()(public)
app.command("rm")(remove)
app.command()(clean)
app.command()(look)
app.command()(export)
app.command()(demo)
