"""InstructEdit: automatic masks for diffusion-based image editing with user instructions."""
