"""The program `seamo-bench` with its verbs. Nothing heavy is imported before it is needed."""

from seamo.options import program
from seamo_bench.cli.audit import audit
from seamo_bench.cli.compare import compare
from seamo_bench.cli.contested import contested
from seamo_bench.cli.expectations import expectations
from seamo_bench.cli.explain import explain
from seamo_bench.cli.figures import figures
from seamo_bench.cli.list import list_things
from seamo_bench.cli.overlap import overlap
from seamo_bench.cli.plan import plan
from seamo_bench.cli.predict import predict
from seamo_bench.cli.referee import referee
from seamo_bench.cli.report import report
from seamo_bench.cli.reproduce import reproduce
from seamo_bench.cli.run import run
from seamo_bench.cli.seasons import seasons
from seamo_bench.cli.spatial import spatial
from seamo_bench.cli.study import study
from seamo_bench.cli.submit import submit
from seamo_bench.cli.table import table
from seamo_bench.cli.verify import verify
from seamo_bench.cli.weights import app as weights
from seamo_bench.cli.why import why

app = program("Evaluate any backbone on any store under the same protocols.")
app.command("list")(list_things)
app.command()(plan)
app.command()(run)
app.command()(study)
app.command()(explain)
app.command()(table)
app.command()(report)
app.command()(figures)
app.command()(compare)
app.command()(why)
app.command()(spatial)
app.command()(seasons)
app.command()(audit)
app.command()(overlap)
app.command()(contested)
app.command()(expectations)
app.command()(reproduce)
app.add_typer(weights, name="weights")
app.command()(verify)
app.command()(predict)
app.command()(submit)
app.command()(referee)
