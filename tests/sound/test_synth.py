"""The synthesiser: in tune, in time, the same again, never clipped; its fast forms equal the plain ones."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest

from tokenloom.sound import synth
from tokenloom.sound.instruments import FAMILIES, TIMBRES, Plucked, name_of, tone
from tokenloom.sound.levels import levels, limited
from tokenloom.sound.score import Note, Score, Track
from tokenloom.sound.synth import render
from tokenloom.sound.tones import edges, loss_filter, partials, pluck, plucked, stirred, tuning

pytest.importorskip("scipy", reason="needs scipy")
RATE = 22_050


def melody(*pitches: int, program: int = 0, velocity: int = 80, drums: bool = False) -> Track:
    notes = tuple(Note(12 * at, 12, pitch, velocity) for at, pitch in enumerate(pitches))
    return Track(notes, program, drums)


def heard_hz(wave: np.ndarray, rate: int, near: float) -> float:
    """The tallest frequency within a semitone of one, by a parabola through three points of the spectrum."""
    size = 1 << 18
    tall = np.log(np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size)) + 1e-12)
    hz = np.fft.rfftfreq(size, 1 / rate)
    i = int(np.argmax(np.where((hz > near / 1.06) & (hz < near * 1.06), tall, -99)))
    a, b, c = tall[i - 1 : i + 2]
    return (i + (a - c) / (2 * (a - 2 * b + c))) * rate / size


def slow_string(hz: float, samples: int, rate: int, seed: int, low_s: float, high_s: float) -> np.ndarray:
    """Karplus and Strong with Jaffe and Smith's all-pass, sample by sample as their figures have it."""
    gain, blend = loss_filter(hz, rate, low_s, high_s, 4000)
    size, c = tuning(hz, rate, blend)
    line = list(pluck(size, 0.13, 4000, rate, np.random.default_rng(seed)))
    out, before, mean_before, pass_before = [], 0.0, 0.0, 0.0
    for n in range(samples):
        out.append(line[n % size])
        mean = gain * ((1 - blend) * out[-1] + blend * before)
        passed = c * mean + mean_before - c * pass_before
        before, mean_before, pass_before = out[-1], mean, passed
        line[n % size] = passed
    return np.array(out)


@pytest.mark.parametrize("hz", [55.0, 330.0, 2093.0])
def test_a_string_by_periods_is_the_string_by_samples(hz: float) -> None:
    fast = plucked(hz, 6000, RATE, np.random.default_rng(4), low_s=2.0, high_s=0.5)
    slow = slow_string(hz, 6000, RATE, 4, 2.0, 0.5)
    assert np.abs(fast - slow).max() < 1e-5 * np.abs(slow).max()


@pytest.mark.parametrize("pitch", [28, 45, 64, 81, 96])
def test_a_string_is_in_tune_and_falls_as_asked(pitch: int) -> None:
    hz, rate = 440 * 2 ** ((pitch - 69) / 12), 44_100
    wave = plucked(hz, 2 * rate, rate, np.random.default_rng(1), low_s=3.0, high_s=1.0)
    assert 1200 * math.log2(heard_hz(wave[:rate], rate, hz) / hz) == pytest.approx(0, abs=0.5), "cents"
    turn = np.exp(-2j * np.pi * hz * np.arange(rate // 2) / rate) * np.hanning(rate // 2)
    first, later = (abs(turn @ wave[at : at + rate // 2]) for at in (0, rate))
    assert 20 * math.log10(later / first) == pytest.approx(-20, abs=1.5), "60 dB in 3 s: 20 dB in 1 s"


def test_partials_are_the_plain_sum() -> None:
    rng = np.random.default_rng(2)
    hz, phases, samples = np.array([100.0, 3000.5, 8000.0]), rng.random(3), 1000
    at = edges(samples, RATE)
    rise = rng.random((len(at), 3))
    t = np.arange(samples)
    plain = sum(
        np.interp(t / RATE, at, rise[:, k]) * np.cos(2 * np.pi * (hz[k] * t / RATE + phases[k]))
        for k in range(3)
    )
    assert np.abs(partials(hz, rise, samples, RATE, phases) - plain).max() < 1e-4
    above = partials(np.array([0.46 * RATE]), rise[:, :1], samples, RATE, phases[:1])
    assert not above.any(), "what half the rate cannot hold is not made"


def test_vibrato_of_no_depth_changes_nothing_and_of_some_moves_the_pitch() -> None:
    wave = np.sin(2 * np.pi * 500 * np.arange(8000) / RATE).astype(np.float32)
    assert np.abs(stirred(wave, np.zeros(8000))[1:-3] - wave[1:-3]).max() < 1e-6
    slower = stirred(wave, np.arange(8000) * 0.01)
    assert heard_hz(slower[:6000], RATE, 500) == pytest.approx(495, abs=0.5)


@pytest.mark.parametrize("name", sorted(TIMBRES))
def test_every_timbre_is_in_tune_without_offset_or_folded_sound(name: str) -> None:
    for pitch in (48, 69, 90):
        hz = 440 * 2 ** ((pitch - 69) / 12)
        wave = tone(TIMBRES[name], hz, 20_000, 44_100, 0.6, np.random.default_rng(pitch))
        assert np.isfinite(wave).all()
        cents = 1200 * math.log2(heard_hz(wave[1000:], 44_100, hz) / hz)
        assert abs(cents) < 12, "voices apart by up to 10 cents, else in tune"
        power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
        assert power[int(0.97 * len(power)) :].sum() < 1e-4 * power.sum()
        assert abs(wave.mean()) < 0.005
    again = tone(TIMBRES[name], hz, 20_000, 44_100, 0.6, np.random.default_rng(90))
    assert np.array_equal(wave, again)


def test_every_program_has_a_timbre() -> None:
    assert [stop for stop, _ in FAMILIES] == sorted({stop for stop, _ in FAMILIES})
    assert {name_of(program) for program in range(128)} <= set(TIMBRES)
    assert name_of(0) == "piano"
    assert name_of(40) == "fiddle"
    assert isinstance(TIMBRES[name_of(24)], Plucked)


@pytest.mark.parametrize("program", range(0, 128, 3))
def test_levels_of_every_sort(program: int) -> None:
    sound = render(Score((melody(50, 57, 62, 69, 74, 78, program=program),)), RATE)
    found = levels(sound, RATE)
    assert found.true_peak_db < -1
    assert -18.5 < found.loudness < -16.5, "what beats and stops at once peaks before it is loud"
    assert abs(found.dc) < 1e-4
    assert sound.shape == (math.ceil((3 + synth.TAIL_S) * RATE), 2)
    assert sound.dtype == np.float32


def test_a_crowd_at_full_strength_does_not_clip() -> None:
    notes = tuple(Note(at, 24, pitch, 127) for at in (0, 6) for pitch in range(30, 100, 2))
    drums = Track(tuple(Note(6 * k, 6, 35 + k % 47, 127) for k in range(47)), drums=True)
    found = levels(render(Score((Track(notes, 56), Track(notes, 30), drums)), RATE), RATE)
    assert found.true_peak_db < -1
    assert -19 < found.loudness < -16


def test_the_limiter_holds_and_leaves_the_rest_alone() -> None:
    rng = np.random.default_rng(0)
    wave = (0.3 * rng.standard_normal((RATE, 2))).astype(np.float32)
    wave[5000] = 4.0
    cut = limited(wave, RATE, 0.9)
    assert np.abs(cut).max() <= 0.9 * 1.0001
    assert limited(cut * np.float32(0.9), RATE, 0.9) is not None
    quiet = wave * np.float32(0.1)
    assert np.array_equal(limited(quiet, RATE, 0.9), quiet)


def test_the_same_seed_gives_the_same_file() -> None:
    score = Score((melody(60, 64, 67, program=24), melody(36, 38, 42, drums=True), melody(48, program=48)))
    first = render(score, RATE, seed=5)
    assert np.array_equal(first, render(score, RATE, seed=5))
    assert not np.array_equal(first, render(score, RATE, seed=6))


def test_notes_sound_at_their_time() -> None:
    track = Track((Note(0, 3, 72), Note(24, 3, 72), Note(48, 3, 72)), program=13)
    score = Score((track,), tempos=((0, 120.0), (24, 60.0)))  # seconds 0, 1 and 3
    mono = np.abs(render(score, RATE)).max(axis=1)
    loud = np.flatnonzero(mono > 0.3 * mono.max()) / RATE
    for at in (0.0, 1.0, 3.0):
        assert loud[loud >= at - 0.01][0] == pytest.approx(at, abs=0.02)
    assert not np.any((loud > 0.5) & (loud < 0.99)), "nothing long after the note's end"


def test_a_stronger_note_is_louder_and_brighter() -> None:
    score = Score((Track((Note(0, 12, 60, 30), Note(48, 12, 60, 120)), 0),))
    sound = render(score, 44_100).mean(axis=1)
    soft, hard = sound[: 44_100 // 2], sound[88_200 : 88_200 + 44_100 // 2]
    assert np.mean(hard**2) > 8 * np.mean(soft**2)

    def centre(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    assert centre(hard) > 1.1 * centre(soft)


def test_a_single_part_stands_in_the_middle_and_two_apart() -> None:
    def balance(sound: np.ndarray) -> float:
        left, right = np.mean(sound**2, axis=0)
        return float(10 * np.log10(left / right))

    flute = melody(72, 74, 76, program=73)
    assert abs(balance(render(Score((flute,)), RATE))) < 1.3, "the room answers not quite alike"
    late = Track(tuple(Note(n.start + 48, n.duration, n.pitch) for n in flute.notes), 73)
    sound = render(Score((flute, late)), RATE)
    assert balance(sound[2 * RATE : 3 * RATE]) > 1.5, "the second part stands on the left"


def test_what_cannot_be_rendered_is_said() -> None:
    one = melody(60)
    for score, rate, why in (
        (Score(()), RATE, "no notes"),
        (Score((Track(),)), RATE, "no notes"),
        (Score((one,)), 4000, "rate 4000: allowed are 8000 to 192000"),
        (Score((Track((Note(0, 100_000, 60),)),)), RATE, "it lasts 4167 s, at most 1800"),
    ):
        with pytest.raises(ValueError, match=why):
            render(score, rate)


def small_font(path: Path, bank: int = 0) -> Path:
    """A SoundFont of one instrument: a sine of A4, looped (SoundFont 2.01, sections 7 and 8)."""
    sine = (20_000 * np.sin(2 * np.pi * np.arange(4410) / 100)).astype("<i2").tobytes() + bytes(92)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def preset(name: bytes, at: int) -> bytes:
        return struct.pack("<20sHHHIII", name, 0, bank, at, 0, 0, 0)

    generators = struct.pack("<HhHhHh", 54, 1, 53, 0, 0, 0)  # loop, sample 0, end
    sample = struct.pack("<20sIIIIIBbHH", b"sine", 0, 4410, 100, 4400, 44_100, 69, 0, 0, 1)
    hydra = (
        (b"phdr", preset(b"tone", 0) + preset(b"EOP", 1)),
        (b"pbag", struct.pack("<4H", 0, 0, 1, 0)),
        (b"pmod", bytes(10)),
        (b"pgen", struct.pack("<4H", 41, 0, 0, 0)),
        (b"inst", struct.pack("<20sH20sH", b"tone", 0, b"EOI", 1)),
        (b"ibag", struct.pack("<4H", 0, 0, 2, 0)),
        (b"imod", bytes(10)),
        (b"igen", generators),
        (b"shdr", sample + struct.pack("<20sIIIIIBbHH", b"EOS", *[0] * 9)),
    )
    lists = chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)))
    lists += chunk(b"LIST", b"sdta" + chunk(b"smpl", sine))
    lists += chunk(b"LIST", b"pdta" + b"".join(chunk(*part) for part in hydra))
    path.write_bytes(chunk(b"RIFF", b"sfbk" + lists))
    return path


def test_a_soundfont_plays_the_score(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont", reason="needs tinysoundfont")
    from tokenloom.sound.soundfont import render_with

    score = Score(
        (
            Track(
                (Note(0, 24, 69), Note(24, 24, 76)),
            ),
        )
    )
    sound = render_with(score, small_font(tmp_path / "a.sf2"), RATE)
    assert sound.shape == (math.ceil((2 + synth.TAIL_S) * RATE), 2)
    assert heard_hz(sound[2000 : RATE - 2000, 0], RATE, 440) == pytest.approx(441, abs=0.3), (
        "100 samples a turn"
    )
    assert heard_hz(sound[RATE + 2000 : 2 * RATE, 0], RATE, 660) == pytest.approx(660.76, abs=0.5)
    found = levels(sound, RATE)
    assert found.true_peak_db < -1
    assert found.loudness == pytest.approx(-17, abs=1)
    assert np.abs(sound[int(2.8 * RATE) :]).max() < 0.01, "silent after the end"


def test_what_a_soundfont_lacks_is_said(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont", reason="needs tinysoundfont")
    from tokenloom.sound.soundfont import render_with

    font = small_font(tmp_path / "a.sf2")
    (tmp_path / "text.sf2").write_text("this is no font")
    (tmp_path / "cut.sf2").write_bytes(font.read_bytes()[:4000])
    for score, name, why in (
        (Score((melody(60),)), "none.sf2", "no such SoundFont"),
        (Score((melody(60),)), "text.sf2", "no SoundFont: it does not begin"),
        (Score((melody(60),)), "cut.sf2", "cut off"),
        (Score((melody(60, program=40),)), "a.sf2", "no instrument for program 40"),
        (Score((melody(36, drums=True),)), "a.sf2", "no drums"),
    ):
        with pytest.raises(ValueError, match=why):
            render_with(score, tmp_path / name, RATE)
