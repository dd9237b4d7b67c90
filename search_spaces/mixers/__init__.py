"""Token mixers: the half of a block that moves information between positions, one small file each."""

from search_spaces.mixers import dynamic as dynamic
from search_spaces.mixers import generated as generated
from search_spaces.mixers import positions as positions
from search_spaces.mixers import sequence as sequence
from search_spaces.mixers import spectral as spectral
from search_spaces.mixers import static as static
from search_spaces.mixers.attention import Attention as Attention
from search_spaces.mixers.cswin import CrossStripe as CrossStripe
from search_spaces.mixers.depthwise import Depthwise as Depthwise
from search_spaces.mixers.pooling import Pooling as Pooling
from search_spaces.mixers.registry import MIXERS as MIXERS
from search_spaces.mixers.registry import Mixer as Mixer
from search_spaces.mixers.registry import mixer as mixer
from search_spaces.mixers.registry import option_problems as option_problems
from search_spaces.mixers.registry import register_mixer as register_mixer
from search_spaces.mixers.scale_aware import ScaleAware as ScaleAware
from search_spaces.mixers.subspace import SubspaceAttention as SubspaceAttention
