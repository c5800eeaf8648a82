"""``vos frame``."""

from __future__ import annotations

from pathlib import Path

import click

from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options
from vos.errors import OptionError, OutputError

SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


@click.command()
@click.argument("source", metavar="VIDEO")
@click.option("-k", "--frame", "index", type=click.IntRange(min=0), default=0, show_default=True, help="Index, from 0.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help=f"The picture to write; its name ends in {', '.join(SUFFIXES)}.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
@general_options
@click.pass_context
def command(ctx: click.Context, source: str, index: int, output: Path, overwrite: bool) -> None:
    """Write one frame of VIDEO as a lossless picture, to draw a mask on in a paint program.

    It is exactly the frame that ``--mask INDEX:FILE`` of ``vos track`` meets.

    \b
      vos frame dog.mp4 -k 87 -o frame.png
      vos init dog.mp4 --frame 87 --mask painted.png -o mask.png
      vos track dog.mp4 --mask 87:mask.png
    """
    from PIL import Image

    from vos.host.opening import open_source
    from vos.host.outputs.input_protection import files_of_run, refuse_replacing
    from vos.host.outputs.output_protection import refuse_existing_files
    from vos.initialization.initialize import read_frame
    from vos.io.atomic_files import replacing

    if output.suffix.lower() not in SUFFIXES:
        raise OptionError(f'-o is "{output}", expected a name that ends in {", ".join(SUFFIXES)}: no pixel may change.')
    plugins = command_plugins(ctx)
    opened = open_source(source, plugins)
    try:
        refuse_replacing([output], files_of_run(opened.info))
        refuse_existing_files([output], overwrite=overwrite)
        frame = read_frame(opened, index, plugins)
    finally:
        opened.close()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output.parent}: cannot be made ({error.strerror}).") from error
    with replacing(output) as partial:
        Image.fromarray(frame.image).save(partial)
    height, width = frame.size
    click.echo(f"{output}: frame {frame.index} of {opened.info.name}, {width}x{height}")
