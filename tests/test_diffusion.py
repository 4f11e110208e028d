"""DDIM steps equal those of diffusers' schedulers, and sampling reverses inversion."""

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from instructedit import diffusion
from instructedit.diffusion import Condition
from tests import tiny


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def condition() -> Condition:
    return Condition(torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("steps", [1, 7, 50, 100])
def test_the_schedule_is_that_of_diffusers(steps: int) -> None:
    scheduler = tiny.scheduler()
    schedule = diffusion.make_schedule(scheduler, steps)
    scheduler.set_timesteps(steps)
    assert list(schedule.timesteps) == scheduler.timesteps.flip(0).tolist()
    assert schedule.alphas[0] == pytest.approx(float(scheduler.final_alpha_cumprod))


def test_fifty_steps_end_at_981_as_in_the_released_code() -> None:
    timesteps = diffusion.make_schedule(tiny.scheduler(), 50).timesteps
    assert (timesteps[0], timesteps[-1]) == (1, 981)


@pytest.mark.parametrize(("steps", "noise"), [(20, 0.98), (20, 0.5), (20, 0.02), (7, 0.3)])
def test_a_schedule_from_a_noise_level_is_instruct_nerf2nerfs(steps: int, noise: float) -> None:
    """Its released code sets num_train_timesteps to the noise level, and then the timesteps."""
    scheduler = DDIMScheduler.from_config(tiny.scheduler().config, steps_offset=1, set_alpha_to_one=False)
    scheduler.register_to_config(num_train_timesteps=int(1000 * noise))
    scheduler.set_timesteps(steps)
    schedule = diffusion.make_schedule(tiny.scheduler(), steps, noise)
    wanted = scheduler.timesteps.flip(0).tolist()
    # Below a step per timestep, the offset would lead beyond the noise level; ours stays at it.
    assert schedule.timesteps == tuple(min(t, int(1000 * noise) - 1) for t in wanted)
    assert schedule.timesteps[-1] <= 1000 * noise


@pytest.mark.parametrize("steps", [0, 1001])
def test_a_schedule_of_impossible_length_is_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="accepted are 1 to 1000"):
        diffusion.make_schedule(tiny.scheduler(), steps)


@torch.no_grad()
def test_sampling_equals_ddim_scheduler(latents: torch.Tensor, condition: Condition) -> None:
    unet, scheduler = tiny.unet(), tiny.scheduler()
    ours = diffusion.sample(
        diffusion.conditional(unet, scheduler, condition), latents, diffusion.make_schedule(scheduler, 20)
    )
    scheduler.set_timesteps(20)
    x = latents
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t, encoder_hidden_states=condition.states).sample, t, x).prev_sample
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_inversion_equals_ddim_inverse_scheduler(latents: torch.Tensor, condition: Condition) -> None:
    unet, scheduler = tiny.unet(), tiny.scheduler()
    ours = diffusion.invert(
        diffusion.conditional(unet, scheduler, condition), latents, diffusion.make_schedule(scheduler, 20)
    )
    inverse = DDIMInverseScheduler.from_config(scheduler.config)
    inverse.set_timesteps(20)
    x, trajectory = latents, [latents]
    for t in inverse.timesteps:
        x = inverse.step(unet(x, t, encoder_hidden_states=condition.states).sample, t, x).prev_sample
        trajectory.append(x)
    assert ours.shape == (21, *latents.shape)
    torch.testing.assert_close(ours, torch.stack(trajectory), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_inversion_then_sampling_comes_back_closer_with_more_steps(latents: torch.Tensor, condition: Condition) -> None:
    unet, scheduler = tiny.unet(), tiny.scheduler()
    errors = []
    for steps in (10, 50, 200):
        schedule = diffusion.make_schedule(scheduler, steps)
        predict = diffusion.conditional(unet, scheduler, condition)
        back = diffusion.sample(predict, diffusion.invert(predict, latents, schedule)[-1], schedule)
        errors.append(((back - latents).norm() / latents.norm()).item())
    assert errors[0] > errors[1] > errors[2]
    # The error is large for an untrained network; scripts.inversion measures it for picturebook's.
    assert errors[2] < errors[0] / 2


def test_a_step_there_and_back_under_one_noise_is_exact(latents: torch.Tensor) -> None:
    noise = torch.randn_like(latents)
    there = diffusion.move(latents.double(), noise.double(), 0.9, 0.3)
    torch.testing.assert_close(diffusion.move(there, noise.double(), 0.3, 0.9), latents.double())


@torch.no_grad()
def test_guidance_of_one_is_the_condition_and_of_zero_is_none(latents: torch.Tensor, condition: Condition) -> None:
    unet, scheduler = tiny.unet(), tiny.scheduler()
    empty = Condition(torch.zeros_like(condition.states))
    for scale, wanted in ((1.0, condition), (0.0, empty)):
        guided = diffusion.guided(unet, scheduler, condition, empty, scale)(latents, 101)
        plain = diffusion.predict_noise(unet, scheduler, latents, 101, wanted)
        torch.testing.assert_close(guided, plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_v_prediction_becomes_the_noise_that_diffusers_derives(latents: torch.Tensor, condition: Condition) -> None:
    unet = tiny.unet()
    scheduler = DDIMScheduler.from_config(tiny.scheduler().config, prediction_type="v_prediction")
    scheduler.set_timesteps(50)
    t = int(scheduler.timesteps[20])
    noise = diffusion.predict_noise(unet, scheduler, latents, t, condition)
    clean = scheduler.step(
        unet(latents, t, encoder_hidden_states=condition.states).sample, t, latents
    ).pred_original_sample
    alpha = scheduler.alphas_cumprod[t]
    torch.testing.assert_close(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, latents, atol=1e-5, rtol=1e-5)


def test_an_unknown_prediction_type_is_refused(latents: torch.Tensor, condition: Condition) -> None:
    scheduler = DDIMScheduler.from_config(tiny.scheduler().config, prediction_type="sample")
    with pytest.raises(ValueError, match="epsilon and v_prediction"):
        diffusion.predict_noise(tiny.unet(), scheduler, latents, 1, condition)
