"""Files that are translated one by one, because more of them is kept than the square that the model sees."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from sivae_translate.data.extras import extras_of, has_alpha, with_alpha
from sivae_translate.data.processor import Prepared
from sivae_translate.data.reading import open_image
from sivae_translate.inference.arguments import Request
from sivae_translate.inference.jobs import Job
from sivae_translate.inference.large import translate_source
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.progress import console


@dataclass
class Singles:
    """Translates files one by one.

    Args:
        translator: the model.
        code: style code (1, S); None reconstructs, which nothing here is for.
        encoding: format and quality of the outputs.
        request: what is asked for.
        metadata: outputs have the EXIF data and the resolution of their inputs.
        how: how the last picture was translated; a line is printed when this changes.
    """

    translator: Translator
    code: Tensor | None
    encoding: Encoding
    request: Request
    metadata: bool
    how: str = ""

    @property
    def all(self) -> bool:
        """Whether these are all files."""
        return self.code is not None and (self.metadata or not self.request.is_simple)

    def include(self, job: Job, prepared: Prepared) -> bool:
        """Whether a file is one of these: not square, or transparent."""
        if not self.request.keeps_size:
            return False
        return not prepared.placement.is_whole or (self._keeps_alpha and has_alpha(job.source))

    @property
    def _keeps_alpha(self) -> bool:
        return self.request.keeps_alpha and self.encoding.has_alpha

    def read(self, job: Job) -> Image.Image:
        """The plain picture of a file, in full size.

        Raises:
            DataError: it cannot be read.
        """
        return open_image(job.source, self.translator.processor.reading)

    def translate(self, job: Job, picture: Image.Image) -> Image.Image:
        """Translate a picture that was read and write the result, which is returned.

        Raises:
            InputError: see `translate_source`.
            DataError: what its colours do not show cannot be read.
            OutputError: the result cannot be written.
        """
        assert self.code is not None
        engine, processor = self.translator.engine, self.translator.processor
        drawn = translate_source(engine, processor, job.source, self.code, self.request, picture)
        made, kept = drawn.picture, {}
        if self._keeps_alpha or self.metadata:
            extras = extras_of(job.source, processor.reading)
            made = with_alpha(made, extras.alpha if self._keeps_alpha else None)
            kept = {"exif": extras.exif, "dpi": extras.dpi} if self.metadata else {}
        self.encoding.save(made, job.target, **kept)
        if self.request.tiling and drawn.how != self.how:
            console.print(f"{job.source.name}: {drawn.how}", highlight=False)
            self.how = drawn.how
        return made
