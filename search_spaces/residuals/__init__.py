"""Residual forms: how what a part makes of x is joined with x, one small file each."""

from search_spaces.residuals.layer_scale import LayerScale as LayerScale
from search_spaces.residuals.registry import RESIDUALS as RESIDUALS
from search_spaces.residuals.registry import ResidualForm as ResidualForm
from search_spaces.residuals.registry import register_residual as register_residual
from search_spaces.residuals.rezero import ReZero as ReZero
from search_spaces.residuals.scaled import Scaled as Scaled
