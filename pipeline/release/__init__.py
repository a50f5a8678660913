"""Releases: immutable manifests with rising numbers, and the one pointer that says which is current.

manifest.py  what a release is made of        pointer.py  publish and current, atomic and crash safe

A release points to content by sha256 and is never changed; going back is a new number on old content.
"""
