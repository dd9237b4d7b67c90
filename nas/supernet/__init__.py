"""The supernet: the shared weights of every network in a space."""

from nas.supernet.supernet import Supernet as Supernet
