"""The decoder that the measurements of language models share: 12.6 million parameters, the head tied to the embedding."""

import transformers

transformers.logging.set_verbosity_error()


def decoder():
    config = transformers.LlamaConfig(
        vocab_size=8192, hidden_size=384, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True, rms_norm_eps=1e-5,
        bos_token_id=None, eos_token_id=None, pad_token_id=0)
    return transformers.LlamaForCausalLM(config)
