"""scikit-learn's estimators of what the tasks compute: a video's row, and the linear SVM on such rows.

`svm`, `compact` and `aslan` use the same two, under a dataset's protocol:

    videos = VideoMean("ucf101.h5", layer="res5b")
    cross_val_score(make_pipeline(videos, LinearSVM()), ids, labels)
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_X_y

from featx.errors import FeatxError, UsageError, nearest
from featx.tasks.features import Files, Given, Rows, video_row
from featx.tasks.linear import C as USUAL_C
from featx.tasks.linear import Coordinates, Floats, Hyperplanes, Ints, check_C, fit_in
from featx.tasks.tuning import TUNED, Tuning, choose_C

# Types of X that are taken as they are.
_TYPES = (np.float32, np.float64)
# Ids among which the nearest are looked for, for a message.
_MOST_COMPARED = 10_000


class VideoMean(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A row a video: the mean over its clips, then L2-normalised (Res3D paper, section 5.1).

    It learns nothing: `transform` needs no `fit`. A mean of all zeros stays zero.

    Args:
        features: A feature file, another library's (`featx.tasks.open_features`), or an open `FeatureStore`: X is then
            videos' ids in it. None: X is the clips' rows themselves. A file is opened by each call, so that
            it goes to other processes (`n_jobs`), which an open one cannot.
        layer: Of a feature file. None is its first.
        normalise: Whether rows are brought to length 1.
    """

    def __init__(
        self,
        features: Given | None = None,
        *,
        layer: str | None = None,
        normalise: bool = True,
    ) -> None:
        self.features = features
        self.layer = layer
        self.normalise = normalise

    def fit(self, X: Any = None, y: Any = None) -> VideoMean:
        """Return the transformer as it is."""
        return self

    def transform(self, X: Any) -> Rows:
        """Return videos' rows.

        Args:
            X: N ids; or, without `features`, N arrays (T, D) of a video's clips each, of any T, or (D,), their mean.

        Returns:
            (N, D) float32.

        Raises:
            UsageError: For ids that are unknown, and arrays that are no rows.
            FeatxError: For a file's rows that are none.
        """
        if not len(X):
            raise UsageError("X has no videos: give one or more")
        if self.features is None:
            return self._of_clips([np.asarray(each) for each in X])
        with Files() as files:
            opened = files.open(self.features, self.layer)
            ids, known = [str(each) for each in X], set(opened.ids)
            for each in ids:
                if each not in known:
                    close = nearest(each, known) if len(known) < _MOST_COMPARED else ""
                    raise UsageError(f"no video {each!r} in {opened.path}{close}")
            return opened.rows_by_id(ids, normalise=self.normalise)

    def _of_clips(self, videos: Sequence[npt.NDArray[Any]]) -> Rows:
        if self.layer is not None:
            raise UsageError(f"layer is {self.layer!r}, and X has no layers: leave it out")
        first = videos[0]
        out = np.empty((len(videos), first.shape[-1] if first.ndim else 0), np.float32)
        for number, clips in enumerate(videos):
            if clips.ndim not in (1, 2) or clips.dtype.kind not in "fiu":
                raise UsageError(
                    f"video {number} of X is {clips.dtype} {clips.shape}: give (T, D) numbers, or"
                    " ids, and a file of `features`"
                )
            try:
                out[number] = video_row(
                    clips,
                    normalise=self.normalise,
                    dims=out.shape[1],
                    source="X",
                    video=f"video {number}",
                    remedy="mend it",
                )
            except FeatxError as error:
                raise UsageError(str(error)) from error
        return out

    def __sklearn_clone__(self) -> VideoMean:
        # An open store cannot be copied, and need not be.
        return VideoMean(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = tags.input_tags.string = True
        return tags


class LinearSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear SVM, one class against the rest: squared hinge loss, L2 penalty, as LIBLINEAR's default.

    The function is scikit-learn's LinearSVC's. Where rows have more numbers than there are rows, it is found in less
    time and memory, in coordinates of the rows' own span.

    Args:
        C: What errors cost. "cv" chooses it in the training set, by cross-validation that keeps groups together.

    Attributes:
        classes_: (K,) labels, sorted.
        coef_: (K, D) float32, or (1, D) of two classes.
        intercept_: (K,) float64, or (1,).
        C_: The C that was used.
        tuning_: How it was chosen; None where it was given.
        n_features_in_: D.
    """

    classes_: npt.NDArray[Any]
    hyperplanes_: Hyperplanes
    tuning_: Tuning | None
    n_features_in_: int

    def __init__(self, C: float | str = USUAL_C) -> None:
        self.C = C

    def fit(self, X: Any, y: Any, groups: Sequence[Hashable] | None = None) -> LinearSVM:
        """Fit on N rows.

        Args:
            X: (N, D) numbers.
            y: (N,) labels of any kind.
            groups: (N,), rows of one group stay together where C is chosen. None: each row is a group.

        Raises:
            UsageError: For a C that is none, and for y of one class alone.
            FeatxError: Where the solver does not end, or C cannot be chosen.
        """
        X, y = check_X_y(X, y, dtype=_TYPES)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise UsageError(
                f"y has one class alone, {classes[0]!r}: give rows of two or more classes"
            )
        return self.fit_parts([X], labels, classes=list(classes), groups=groups)

    def fit_parts(
        self,
        parts: Sequence[Rows],
        labels: Ints,
        *,
        classes: Sequence[Any],
        groups: Sequence[Hashable] | None = None,
    ) -> LinearSVM:
        """Fit on several features of N videos as if they lay one after the other; they are not copied together.

        Args:
            parts: (N, D1), (N, D2), ... float32.
            labels: (N,) places in `classes`, each of which has a row.
            classes: K labels, in any order.
            groups: As for `fit`.
        """
        tuned = self.C == TUNED
        C = USUAL_C if tuned else float(self.C)
        check_C(C)
        coordinates = Coordinates(parts)
        self.tuning_ = None
        if tuned:
            of = range(len(labels)) if groups is None else groups
            self.tuning_ = choose_C(coordinates.rows, labels, of, classes=classes)
            C = self.tuning_.best
        self.hyperplanes_ = fit_in(coordinates, labels, C=C, n_classes=len(classes))
        self.classes_ = np.asarray(classes)
        self.n_features_in_ = self.hyperplanes_.coef.shape[1]
        return self

    @property
    def coef_(self) -> Rows:
        """(K, D), or (1, D) of two classes."""
        return self.hyperplanes_.coef[1:] if len(self.classes_) == 2 else self.hyperplanes_.coef

    @property
    def intercept_(self) -> Floats:
        """(K,), or (1,) of two classes."""
        intercept = self.hyperplanes_.intercept
        return intercept[1:] if len(self.classes_) == 2 else intercept

    @property
    def C_(self) -> float:
        """The C that was used."""
        return self.hyperplanes_.C

    def decision_function(self, X: Any) -> Floats:
        """Return each row's score for each class, (N, K): its signed distance to the border times the border's norm.

        Of two classes (N,): above 0 is the second.
        """
        X = self._checked(X)
        scores = self.hyperplanes_.scores(X)
        return np.asarray(scores[:, 1] if len(self.classes_) == 2 else scores)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the class with the highest score of each row, (N,), the first of equals."""
        X = self._checked(X)
        return np.asarray(self.classes_[self.hyperplanes_.predict(X)])

    def _checked(self, X: Any) -> npt.NDArray[Any]:
        check_is_fitted(self)
        X = check_array(X, dtype=_TYPES)
        if X.shape[1] != self.n_features_in_:
            raise UsageError(
                f"X has {X.shape[1]} features, but LinearSVM is expecting {self.n_features_in_} features as input:"
                " give rows of the same features"
            )
        return np.asarray(X)
