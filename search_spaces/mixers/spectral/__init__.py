"""Mixers that work on frequencies: of the Fourier and the cosine transform, and on wavelets."""

from search_spaces.mixers.spectral.adaptive_filter import AdaptiveFilter as AdaptiveFilter
from search_spaces.mixers.spectral.balance import FrequencyBalance as FrequencyBalance
from search_spaces.mixers.spectral.spectrum import SpectrumMixer as SpectrumMixer
from search_spaces.mixers.spectral.wavelet import WaveletMixer as WaveletMixer
