"""What CUP holds and what we hold: the runs, their differences, and a new comparison."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Label, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from server.administration.show import load_listing, load_sources, render
from server.auth import actor_of
from server.cup.booking import FileRejected
from server.cup.cuplist import read_file
from server.cup.reconcile import export_csv, load_differences, reconcile
from server.errors import InvalidInput, NotFound
from server.models import Difference, DifferenceKind, Reconciliation, Source
from server.services import DATABASE, KEYRING, now_of
from server.sources import settings_of
from server.uploads import receive_upload


async def list_runs(request: web.Request) -> web.StreamResponse:
    """The comparisons, the newest first, with how many differences each found."""
    return await _render_runs(request)


async def compare(request: web.Request) -> web.StreamResponse:
    """Compare a source with a file of CUP; nothing of the file is applied or kept."""
    actor, now = actor_of(request), now_of(request)
    try:
        async with receive_upload(request) as upload:
            async with request.app[DATABASE].read(actor.organisation) as session:
                source = await _load_source(session, upload.fields.get("source", ""))
            messages = read_file(upload.path, settings_of(source), now)
            found = await reconcile(
                request.app[DATABASE], request.app[KEYRING], source, messages, now
            )
    except InvalidInput as error:
        return await _render_runs(request, wrong=error.reason)
    except FileRejected:
        return await _render_runs(request, wrong="rejected")
    raise web.HTTPSeeOther(f"/admin/reconciliation/{found.reconciliation.id}")


async def show_run(request: web.Request) -> web.StreamResponse:
    """The differences of one comparison."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        run, source = await _load_run(request, session)
        path = f"/admin/reconciliation/{run.id}"
        wanted = _differences(run)
        listing = await load_listing(session, wanted, request.query, path)
    return render(request, "reconciliation", run=run, source=source, listing=listing)


async def download(request: web.Request) -> web.StreamResponse:
    """The same as a CSV file whose cells no spreadsheet takes for formulas."""
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        run, _source = await _load_run(request, session)
        differences = await load_differences(session, run.id)
    return web.Response(
        body=export_csv(differences).encode("utf-8-sig"),
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="differences-{run.id}.csv"',
        },
    )


def _count(kind: DifferenceKind) -> Label[int]:
    return func.coalesce(func.sum(case((Difference.kind == kind, 1), else_=0)), 0).label(kind.value)


def _differences(run: Reconciliation) -> Select[Difference]:
    return (
        select(Difference)
        .where(Difference.reconciliation_id == run.id)
        .order_by(Difference.kind, Difference.booking_code)
    )


async def _load_run(request: web.Request, session: AsyncSession) -> tuple[Reconciliation, Source]:
    run = await session.scalar(
        select(Reconciliation).where(Reconciliation.id == request.match_info["run_id"])
    )
    if run is None:
        raise NotFound
    return run, await session.get_one(Source, run.source_id)


async def _load_source(session: AsyncSession, source_id: str) -> Source:
    source = await session.scalar(select(Source).where(Source.id == source_id))
    if source is None:
        raise NotFound
    return source


async def _render_runs(request: web.Request, *, wrong: str = "") -> web.Response:
    wanted = (
        select(Reconciliation, Source.code, *map(_count, DifferenceKind))
        .join(Source, Source.id == Reconciliation.source_id)
        .outerjoin(Difference, Difference.reconciliation_id == Reconciliation.id)
        .group_by(Reconciliation.id, Source.code)
        .order_by(Reconciliation.compared_at.desc(), Reconciliation.id)
    )
    async with request.app[DATABASE].read(actor_of(request).organisation) as session:
        listing = await load_listing(session, wanted, request.query, "/admin/reconciliation")
        sources = await load_sources(session)
    return render(
        request,
        "reconciliations",
        status=400 if wrong else 200,
        listing=listing,
        sources=sources,
        wrong=wrong,
    )
