"""What a training run is: frozen dataclasses filled from a TOML recipe (`tokenloom.config.read_recipe`).

A field's docstring is its help. Nothing here trains; `train.scale` turns `depth` into sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tokenloom.codec.config import AudioCodecConfig, AudioLosses, ImageCodecConfig, Losses


@dataclass(frozen=True)
class ModelPart:
    """What is trained: an existing model, or fresh weights of these sizes."""

    start: str = ""
    """Folder, GGUF file or name of the model to start from; empty = fresh weights."""
    tokenizer: str = ""
    """Folder of the tokenizer; empty = that of `start`."""
    new_tokens: tuple[str, ...] = ()
    """Control tokens added to those of `start`; the model grows rows for them."""
    depth: int = 0
    """The one dial: layers, from which width, heads, batch, learning rate and tokens follow; 0 = by hand."""
    n_layer: int = 0
    """Layers; 0 = depth."""
    dim: int = 0
    """Width of the residual stream; 0 = 64 for each layer of depth."""
    n_head: int = 0
    """Query heads; 0 = dim / 64."""
    n_kv_head: int = 0
    """Key and value heads; 0 = n_head."""
    ffn_dim: int = 0
    """Width of the gated MLP; 0 = 8/3 of dim, rounded up to a multiple of 64."""
    context: int = 0
    """Positions the model is made for; 0 = data.context."""
    rope_theta: float = 10_000.0
    """Base of the rotary positions."""
    tied: bool = True
    """The output layer is the embedding's matrix."""
    family: Literal["llama", "qwen3"] = "qwen3"
    """Layout on the Hub: llama, or qwen3, which norms queries and keys."""


@dataclass(frozen=True)
class DataPart:
    """What it learns from."""

    train: tuple[str, ...] = ()
    """Folders of token shards (`loom data prepare`); for sft files of conversations as well."""
    weights: tuple[float, ...] = ()
    """Share of the rows each of `train` gives; empty = by their size. Replay is a second entry here."""
    held_out: tuple[str, ...] = ()
    """Shards (for sft also conversations) that are only measured."""
    watch: tuple[str, ...] = ()
    """Fine-tunes: shards of general text, measured before, with every evaluation and after, to see what is
    forgotten; empty = prose that comes with Python."""
    watch_tokens: int = 5_000
    """Fine-tunes: ids of that text that are measured each time; 0 = none, and the report says so."""
    context: int = 512
    """Ids in a row."""
    pack: bool = True
    """Several documents share a row; attention keeps them apart."""
    learn: Literal["assistant", "last", "all"] = "assistant"
    """sft: which tokens are learned: every assistant turn, the last one, or all."""
    too_long: Literal["refuse", "cut"] = "refuse"
    """sft: conversations of more than `context` ids are dropped and counted, or cut at the end."""
    max_dropped: float = 0.05
    """sft: the run is refused when more than this share of the conversations was dropped."""


@dataclass(frozen=True)
class OptimPart:
    """How weights move."""

    kind: Literal["muon", "adamw"] = "muon"
    """muon: Muon for the layers' matrices and kernels, AdamW for the rest; adamw: AdamW for all."""
    adamw_share: float = 1.0
    """muon: AdamW's learning rate as a share of Muon's."""
    lr: float = 0.0
    """Peak learning rate; 0 = by rule (see train.scale)."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices; vectors have none."""
    beta1: float = 0.9
    beta2: float = 0.95
    momentum: float = 0.95
    """Muon's."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 = no clipping."""
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    """wsd: warm-up, stable, linear decay at the end; cosine: to `floor` over the whole run."""
    warmup: int = 0
    """Steps of linear warm-up; 0 = 2 % of the run."""
    decay: float = 0.2
    """wsd: share of the steps in which the rate falls to `floor`."""
    floor: float = 0.0
    """Last learning rate as a share of the peak."""


@dataclass(frozen=True)
class LoraPart:
    """LoRA: small factors are trained, the model stays. rank 0 = the whole model is trained."""

    rank: int = 0
    """Width of the factors; 0 = no LoRA."""
    alpha: float = 0.0
    """Scale of the update is alpha / rank; 0 = twice the rank."""
    dropout: float = 0.0
    """Share of the inputs dropped before the first factor."""
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Linear maps that get factors."""
    int8: bool = False
    """The base is held in int8."""
    merge: bool = False
    """Save the merged model as well as the adapter."""


@dataclass(frozen=True)
class PicturesPart:
    """codec: the pictures it learns from. They are made: sprites on grounds, and composed scenes."""

    sprites: str = ""
    """Folder of sprites (`loom data sprites`)."""
    scenes: int = 20_000
    """Composed scenes that are made before the first step and kept in memory; 64-pixel pictures only."""
    scene_share: float = 0.4
    """Share of the pictures that are scenes; the others are single sprites, moved and mirrored."""
    drawn: int = 6_000
    """Pictures by other hands that are made before the first step and kept: shapes and lines drawn at random,
    and sprites redrawn in flat colours with outlines."""
    drawn_share: float = 0.2
    """Share of the pictures that are those."""
    further: tuple[str, ...] = ()
    """Files .npy of further pictures, uint8 (N, S, S, 4), that are among those (`loom image outlines`)."""
    held_out: int = 256
    """Pictures of emoji kept out of training that an evaluation looks at; as many of the unseen style."""


@dataclass(frozen=True)
class SpeechPart:
    """audio-codec: the speech it learns from, cut at random places."""

    folder: str = ""
    """What `loom data speech` wrote."""
    crop_s: float = 1.0
    """Seconds of a crop; what is shorter is filled with silence."""
    gain_db: float = 3.0
    """A crop is made louder or softer by as much at most."""
    held_out: int = 48
    """Crops of two seconds, of texts kept out of training, that an evaluation hears; 0 = none."""


@dataclass(frozen=True)
class AdversaryPart:
    """codec, audio-codec: the second player, which learns to tell decoded works from real ones. weight 0 =
    none."""

    weight: float = 0.1
    """Of the adversarial term, before it is adapted to the gradients; 0 = no adversary."""
    begins: float = 0.35
    """Share of the steps after which it plays."""
    matching: float = 1.0
    """Weight of matching its features, as a share of the adversarial term's."""
    width: int = 32
    """Channels of its first layer."""
    layers: int = 3
    """Halvings."""
    windows: tuple[int, ...] = (1024, 512, 256)
    """audio-codec: samples under each spectrum that it sees."""
    periods: tuple[int, ...] = (3, 7)
    """audio-codec: periods by which it folds the samples."""


@dataclass(frozen=True)
class JudgePart:
    """match: the dual encoder of captions and pictures, and what it learns from."""

    sprites: str = ""
    """Folder of sprites (`loom data sprites`), from which its pictures are composed."""
    tokenizer: str = ""
    """Folder of the tokenizer whose text ids captions become."""
    start: str = ""
    """Folder of a dual encoder to go on from, of the same sizes and tokenizer; empty = fresh weights. One
    without `texture` is given it."""
    codec: str = ""
    """Folder of a codec; half of the damaged pictures go through it. Empty = they are blurred or noisy."""
    damaged: float = 0.5
    """Share of the pictures that are damaged as drawing may leave them."""
    again: int = 1
    """How often a composed picture comes, each time with other words and other damage."""
    held_out: int = 256
    """Pairs of each split that an evaluation looks at, in batches of 64; 0 = no evaluation."""
    context: int = 48
    """Ids of a caption that are read."""
    out: int = 128
    """Width of the common space."""
    text_layers: int = 2
    text_dim: int = 160
    text_heads: int = 4
    widths: tuple[int, ...] = (64, 128, 160)
    """Channels of the picture tower's stages."""
    blocks: tuple[int, ...] = (2, 2, 1)
    """Residual blocks of the stages."""
    hidden: int = 192
    """Width between the last grid of features and the common space."""
    texture: int = 64
    """Width between the means of the stages' features and the common space; 0 = the last grid alone."""


@dataclass(frozen=True)
class RunPart:
    """How long, how large, how often."""

    steps: int = 0
    """Optimizer steps; 0 = by `tokens`."""
    tokens: int = 0
    """Ids (a codec: works) to train on; 0 with steps 0 = by rule (20 for each weight, see train.scale)."""
    batch_tokens: int = 0
    """Ids of one optimizer step, works for a codec; 0 = by rule."""
    rows: int = 8
    """Rows of one forward pass, pictures or crops for a codec, pairs for match; a step takes as many passes
    as batch_tokens needs."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the products; weights and optimizer state are float32."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    threads: int = 0
    """CPU threads; 0 = all."""
    compile: bool = False
    """torch.compile the layers: a minute at the start, then faster."""
    checkpoint_activations: bool = False
    """Compute each layer twice instead of keeping its activations."""
    loss_rows: int = 512
    """Positions whose logits are held at once."""
    average: float = 0.0
    """Decay of an exponential average of the weights, which is evaluated and saved; 0 = off."""
    eval_every: int = 0
    """Steps between evaluations; 0 = at the end only."""
    eval_tokens: int = 100_000
    """Held-out ids of one evaluation; 0 = all."""
    patience: int = 0
    """Stop after this many evaluations without a better held-out loss; 0 = never."""
    sample_every: int = 0
    """Steps between sample texts; 0 = at the end only."""
    samples: tuple[str, ...] = ()
    """Prompts of the sample texts."""
    sample_tokens: int = 64
    save_every: int = 0
    """Steps between checkpoints; 0 = every 10 minutes."""
    keep: int = 2
    """Checkpoints kept."""
    minutes: float = 0.0
    """Stop with a checkpoint after so long, to be resumed; 0 = never."""
    root: str = ""
    """Where run folders are made; empty = Tokenloom's home."""


@dataclass(frozen=True)
class Recipe:
    """One run."""

    name: str
    """What the run and its model are called."""
    objective: Literal["pretrain", "sft", "codec", "audio-codec", "match"] = "pretrain"
    """pretrain: every id is learned; sft: the assistant's; codec: pictures as codes; audio-codec: speech as
    codes; match: captions and pictures in one space."""
    seed: int = 0
    licence: str = ""
    """Licence of the model that comes out, for its card."""
    about: str = ""
    """A sentence for its card."""
    model: ModelPart = ModelPart()
    data: DataPart = DataPart()
    optim: OptimPart = OptimPart()
    lora: LoraPart = LoraPart()
    pictures: PicturesPart = PicturesPart()
    codec: ImageCodecConfig = field(default_factory=ImageCodecConfig)
    losses: Losses = field(default_factory=Losses)
    speech: SpeechPart = SpeechPart()
    audio_codec: AudioCodecConfig = field(default_factory=AudioCodecConfig)
    audio_losses: AudioLosses = field(default_factory=AudioLosses)
    adversary: AdversaryPart = AdversaryPart()
    judge: JudgePart = JudgePart()
    run: RunPart = RunPart()
