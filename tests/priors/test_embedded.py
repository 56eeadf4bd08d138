"""A tiny real prior: saved, loaded, adapted, switched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.errors import AnimusError, BadInput, NotAvailable
from stages.priors.autoencoder import PatchAutoencoder
from stages.priors.embedded import EmbeddedPrior, cosine_scheduler
from stages.priors.find import prior_fingerprint
from stages.priors.load import load_prior
from stages.priors.lora import TARGETS, adapter_on, adapter_tensors, add_adapter, load_adapter
from stages.priors.prior import Condition
from stages.priors.text import build_text_encoder, build_tokenizer
from stages.priors.transformer import AnimusTransformer3DModel


def tiny_prior(seed: int = 0) -> EmbeddedPrior:
    """Untrained, but with random output weights, so that nothing is zero by accident."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(["a", "walking", "goat"])
    transformer = AnimusTransformer3DModel(
        in_channels=6, num_frames=4, sample_size=4, fine_width=16, width=32, head_dim=16, num_fine_layers=1,
        num_layers=1, cross_attention_dim=16,
    )  # fmt: skip
    torch.nn.init.normal_(transformer.patch_out.weight, std=0.1)
    autoencoder = PatchAutoencoder(patch_size=4, latent_channels=6)
    autoencoder.fit(torch.rand(8, 3, 16, 16))
    parts = {
        "transformer": transformer,
        "vae": autoencoder,
        "text_encoder": build_text_encoder(tokenizer, width=16, num_layers=1),
        "tokenizer": tokenizer,
        "scheduler": cosine_scheduler(),
    }
    return EmbeddedPrior("tiny", parts, motions={"walk": ["walk", "walks", "walking"]})


def test_a_saved_prior_loads_to_the_same_predictions(tmp_path: Path) -> None:
    """To the rounding of half precision once, and to the bit from then on."""
    prior = tiny_prior()
    prior.save(tmp_path / "prior")
    loaded = load_prior(str(tmp_path / "prior"))
    loaded.save(tmp_path / "again")
    again = load_prior(str(tmp_path / "again"))
    assert not any(str(tmp_path) in path.read_text() for path in (tmp_path / "again").rglob("*.json"))
    assert loaded.clip == prior.clip and loaded.motions == again.motions == prior.motions
    x, picture = torch.randn(1, 6, 4, 4, 4), torch.randn(1, 6, 4, 4)
    with torch.no_grad():
        mine, theirs, third = (
            p.predict(x, 321, Condition(p.encode_text(["a walking goat"]), picture)) for p in (prior, loaded, again)
        )
    assert torch.equal(theirs, third)
    torch.testing.assert_close(mine, theirs, atol=2e-2, rtol=0)


def test_words_and_picture_matter_and_can_be_left_out() -> None:
    prior = tiny_prior()
    x, picture = torch.randn(1, 6, 4, 4, 4), torch.randn(1, 6, 4, 4)
    with torch.no_grad():
        walking, nothing = (
            prior.predict(x, 321, Condition(prior.encode_text([p]), picture)) for p in ("a walking goat", "")
        )
        blind = prior.predict(x, 321, Condition(prior.encode_text([""])))
    assert not torch.allclose(walking, nothing) and not torch.allclose(nothing, blind)


def test_unknown_words_are_read_as_one_unknown_word() -> None:
    prior = tiny_prior()
    okapi, zebra = prior.encode_text(["a walking okapi"]), prior.encode_text(["A walking ZEBRA!"])
    torch.testing.assert_close(okapi.pooled, zebra.pooled)
    assert not torch.allclose(okapi.pooled, prior.encode_text(["a walking goat"]).pooled)  # type: ignore[arg-type]


def test_autoencoder_returns_what_its_components_span() -> None:
    images = torch.rand(4, 3, 16, 16)
    full = PatchAutoencoder(patch_size=2, latent_channels=12)
    assert full.fit(images) == pytest.approx(1.0)
    torch.testing.assert_close(full.decode(full.encode(images)), images, atol=1e-5, rtol=0)
    assert full.encode(images).square().mean() == pytest.approx(1.0, rel=0.05)


def test_lora_starts_as_the_identity_and_switches_off_bit_for_bit() -> None:
    prior = tiny_prior()
    x, text = torch.randn(1, 6, 4, 4, 4), prior.encode_text(["a walking goat"])
    with torch.no_grad():
        before = prior.predict(x, 321, Condition(text))
        parameters = add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
        attentions = sum(name.endswith("to_q") for name, _ in tiny_prior().denoiser.named_modules())
        assert len(parameters) == 2 * len(TARGETS) * attentions
        with adapter_on(prior.denoiser):
            assert torch.equal(prior.predict(x, 321, Condition(text)), before)
            for _, parameter in parameters:
                parameter.normal_()
            assert not torch.allclose(prior.predict(x, 321, Condition(text)), before)
        assert torch.equal(prior.predict(x, 321, Condition(text)), before)


def test_gradients_reach_the_adapter_only_and_it_reloads() -> None:
    prior = tiny_prior()
    parameters = add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
    x, text = torch.randn(1, 6, 4, 4, 4), prior.encode_text(["a walking goat"])
    with adapter_on(prior.denoiser):
        prior.predict(x, 321, Condition(text)).square().mean().backward()
        with_gradient = {name for name, p in prior.denoiser.named_parameters() if p.grad is not None}
        assert with_gradient == {name for name, _ in parameters}
        with torch.no_grad():
            for _, parameter in parameters:
                parameter.normal_(std=0.1)
            adapted = prior.predict(x, 321, Condition(text))
    other = tiny_prior()
    load_adapter(other.denoiser, adapter_tensors(prior.denoiser), {"rank": "2", "alpha": "2.0"})
    with torch.no_grad(), adapter_on(other.denoiser):
        assert torch.equal(other.predict(x, 321, Condition(text)), adapted)


def test_a_lora_of_another_prior_is_refused() -> None:
    prior, tensors = tiny_prior(), {}
    add_adapter(prior.denoiser, rank=2, alpha=2.0, seed=0)
    tensors = {name: torch.zeros(3, 3) for name in adapter_tensors(prior.denoiser)}
    with pytest.raises(AnimusError, match="does not fit"):
        load_adapter(tiny_prior().denoiser, tensors, {"rank": "2", "alpha": "2.0"})
    tensors = {name: torch.full_like(tensor, float("inf")) for name, tensor in adapter_tensors(prior.denoiser).items()}
    with pytest.raises(AnimusError, match="NaN or infinity"):
        load_adapter(tiny_prior().denoiser, tensors, {"rank": "2", "alpha": "2.0"})


def test_bad_folders_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match="no folder"):
        load_prior("./nowhere")
    with pytest.raises(BadInput, match=r"no model_index\.json"):
        load_prior(str(tmp_path))
    tiny_prior().save(tmp_path)
    fingerprint = prior_fingerprint(str(tmp_path))
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert prior_fingerprint(str(tmp_path)) != fingerprint
    with pytest.raises(BadInput, match="transformer"):
        load_prior(str(tmp_path))
