"""``vos demo``."""

from __future__ import annotations

from pathlib import Path

import click

from vos.cli.track import DEFAULT_OUTPUT, describe
from vos.cli_options.settings import command_plugins
from vos.cli_options.shared_options import general_options, option_assignments
from vos.host.run_config import DEFAULT_TRACKER, DEFAULT_WRITER
from vos.registry.options import parse_assignments

SEQUENCE = "demo"


@click.command()
@click.option("-t", "--tracker", default=DEFAULT_TRACKER, show_default=True, help="Who tracks (`vos plugins`).")
@option_assignments
@click.option("-o", "--output", default=DEFAULT_OUTPUT, show_default=True, help="Folder for masks and overlay.")
@general_options
@click.pass_context
def command(ctx: click.Context, tracker: str, assignments: tuple[str, ...], output: str) -> None:
    """Track the example clip, write masks and an overlay video, and print J and F against the exact masks."""
    from vos.example_clip import CLIP, FIRST_MASK, score
    from vos.host.outputs.output_protection import refuse_existing
    from vos.host.outputs.run_record import read_record
    from vos.host.progress import RunProgress
    from vos.host.tracking import track

    refuse_existing([Path(output)], overwrite=True)  # an address: the masks are scored here
    earlier = read_record(Path(output) / SEQUENCE)
    summary = track(
        CLIP,
        FIRST_MASK,
        tracker=tracker,
        options=parse_assignments(assignments),
        output=output,
        sequence=SEQUENCE,
        writers=[DEFAULT_WRITER, "overlay"],
        overwrite=earlier is not None and Path(str(earlier.get("source"))).parts[-2:] == CLIP.parts[-2:],
        plugins=command_plugins(ctx),
        observers=[RunProgress()],
    )
    folder = summary.run.output
    assert folder is not None, "an output folder was given"
    click.echo(describe(summary))
    scores = score(folder)
    click.echo("\nobject    J     F    J&F")
    for one in scores.objects:
        j, f = one.j_statistics.mean, one.f_statistics.mean
        click.echo(f"{one.object_id:>6} {100 * j:5.1f} {100 * f:5.1f}  {100 * one.j_and_f:5.1f}")
    click.echo(f"  mean {100 * scores.j.mean:5.1f} {100 * scores.f.mean:5.1f}  {100 * scores.j_and_f:5.1f}")
    click.echo(f"\nmasks:   {folder / '00000.png'} ...\noverlay: {folder / 'overlay.mp4'}")
    click.echo(f"Next, your own video: vos track VIDEO --mask FIRST.png --overlay {Path('out.mp4')}")
