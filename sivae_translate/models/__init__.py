"""Networks, codes, priors and the latent-variable models made of them; LPIPS; model files; typicality."""
