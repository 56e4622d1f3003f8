"""What the service answers to a prediction request, from its bytes to those of its answer."""

from __future__ import annotations

import asyncio
import logging
import time

from models.serving import arrow
from models.serving.answers import Answer, new_id
from models.serving.experiments import Experiment, Experiments
from models.serving.hosted import Hosted, Served
from models.serving.http import ARROW, Bodies, GoneError, Reply, Request, problem, refusal
from models.serving.keys import Key, KeyRing, Refusal
from models.serving.limits import MAX_ITEMS, MAX_UNDER_WAY, TIMEOUT_S
from models.serving.metrics import UNDER_WAY, Counted
from models.serving.predictor import find, predict
from models.serving.schema import RefusedError
from models.serving.shadow import Shadow
from models.serving.spool import Answered, RequestLog
from pipelines.errors import DatabaseError, HeadwaterError, LogFullError, NotFoundError, SettingsError

_STATUS: dict[type[HeadwaterError], int] = {
    NotFoundError: 404,
    DatabaseError: 503,
    SettingsError: 503,
    LogFullError: 503,
}

logger = logging.getLogger(__name__)


class Application:
    """Answers the requests of one worker."""

    def __init__(self, served: Served, keys: KeyRing, experiments: Experiments, log: RequestLog | None) -> None:
        self.served = served
        self.keys = keys
        self.experiments = experiments
        self.log = log
        self.shadow = Shadow(self._keep)
        self._counted = {use_case: Counted(use_case) for use_case in served.use_cases}
        self._under_way = 0
        self._bodies = Bodies()

    async def predict(self, use_case: str, request: Request) -> Reply:
        """The answer to `POST /{use_case}/predict`, whatever comes of it."""
        began = time.perf_counter()
        counted = self._counted.get(use_case)
        if counted is None:
            return problem(self.unknown(use_case))
        request.request_id = request.request_id or new_id()
        self._under_way += 1
        UNDER_WAY.inc()
        try:
            reply = await self._predict(use_case, request, began)
        except RefusedError as error:
            reply = problem(error)
        finally:
            self._under_way -= 1
            self._bodies.size -= request.held
            UNDER_WAY.dec()
        seconds = time.perf_counter() - began
        if reply.status == 200:
            counted.answered(seconds)
        else:
            counted.refused(reply.status, seconds)
        reply.headers.append((b"x-request-id", request.request_id.encode()))
        return reply

    async def _predict(self, use_case: str, request: Request, began: float) -> Reply:
        if self._under_way > MAX_UNDER_WAY:
            raise refusal(503, f"{MAX_UNDER_WAY} requests are under way; try again in a second.", 1)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._answer(use_case, request, began)
        except TimeoutError:
            raise refusal(504, f"There was no answer within {TIMEOUT_S:g} s.") from None
        except HeadwaterError as error:
            raise refusal(_STATUS.get(type(error), 500), str(error)) from error
        except (RefusedError, GoneError):
            raise
        except Exception as error:
            logger.exception("%s could not answer a request.", use_case)
            said = f"The model of {use_case} could not answer ({type(error).__name__}); see the log of headwater serve."
            raise refusal(500, said) from error

    async def _answer(self, use_case: str, request: Request, began: float) -> Reply:
        # Before anything of it is read: what is refused later counts as well
        key = _passed(self.keys.admit(request.key, use_case))
        is_arrow = request.is_arrow
        hosted = self.served.champions.get(use_case)
        if hosted is None:
            raise refusal(503, f"{self.served.absent(use_case)}.", 5)
        body = await request.body(is_arrow, self._bodies)
        wanted, rows = await asyncio.to_thread(arrow.read, hosted.card, body) if is_arrow else hosted.parse(body)
        _passed(self.keys.charge(key, len(wanted or rows)))
        keys = None
        if wanted is not None:
            keys, rows = await find(hosted, wanted)
        experiment = self.experiments.of(use_case)
        challenger = self._challenger(use_case, hosted, experiment)
        request_id = request.request_id or new_id()

        async def failed(without: Answer, error: Exception) -> None:
            await asyncio.to_thread(self._note, without, request_id, began, error)

        try:
            answer = await predict(hosted, keys, rows, failed, experiment, challenger)
        except ValueError as error:
            if keys is not None:
                raise
            # Of the right types, and yet nothing that this model can compute with
            said = str(error).partition("\n")[0].rstrip(".")
            raise refusal(422, f"The model cannot answer these rows: {said}.") from error
        self._count(answer)
        is_bulk = len(answer.rows) > MAX_ITEMS
        if is_bulk:  # to encode that many takes a while, in which others are answered
            await asyncio.to_thread(self._note, answer, request_id, began)
        else:
            self._note(answer, request_id, began)
        if challenger is not None and experiment is not None and experiment.mode == "shadow":
            self.shadow.copy(challenger, hosted, answer, request_id)
        if request.wants_arrow(is_arrow):
            return Reply(await asyncio.to_thread(arrow.write, answer), content_type=ARROW)
        return Reply(await asyncio.to_thread(answer.body) if is_bulk else answer.body())

    def _challenger(self, use_case: str, champion: Hosted, experiment: Experiment | None) -> Hosted | None:
        """The version of the experiment, once it is loaded; until then that of the one before may still be there."""
        found = self.served.challengers.get(use_case)
        if found is None or experiment is None or found.card.version != experiment.version:
            return None
        return found if found.card.answer_names == champion.card.answer_names else None

    def identify(self, use_case: str, request: Request) -> None:
        """Lets pass whoever may ask of that use case at all.

        Raises:
            RefusedError: the key is missing, is not known, or may not.
        """
        _passed(self.keys.identify(request.key, use_case))

    def unknown(self, use_case: str) -> RefusedError:
        """What is said of a use case that there is not."""
        known = ", ".join(self.served.use_cases)
        return refusal(404, f"There is no use case {use_case[:100]!r}; there is: {known}.")

    def _count(self, answer: Answer) -> None:
        counted, version, count = self._counted[answer.card.use_case], answer.card.version, len(answer.rows)
        theirs = sum(one != version for one in answer.versions)
        counted.predicted(version, "champion", count - theirs)
        if theirs:
            counted.predicted(next(one for one in answer.versions if one != version), "challenger", theirs)

    def _note(self, answer: Answer, request_id: str, began: float, error: Exception | None = None) -> None:
        self._keep(answer.logged(request_id, began, error=error))

    def _keep(self, answered: Answered) -> None:
        if self.log is not None:
            self.log.append(answered)


def _passed(found: Key | Refusal) -> Key:
    if isinstance(found, Refusal):
        raise refusal(found.status, found.error, found.retry_after_s)
    return found
