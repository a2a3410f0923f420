"""Autoencoders that turn media into codes and back: pictures, sound. Not the ids those codes become (tokens).

Weights are trained in `tokenloom.train`; a codec that is used is a folder (`codec.folder`).
"""
