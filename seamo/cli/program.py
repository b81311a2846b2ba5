"""The program `seamo` with its verbs. Nothing heavy is imported before it is needed."""

from seamo.cli.embed import embed
from seamo.cli.export import export
from seamo.cli.info import info
from seamo.cli.pretrain import pretrain
from seamo.cli.reconstruct import reconstruct
from seamo.options import program

app = program("Pretrain SeaMo and look at what it learned.")
app.command()(pretrain)
app.command()(reconstruct)
app.command()(embed)
app.command()(export)
app.command()(info)
