/// Published chat templates by the shape of their Jinja text (`TemplateShape.digest`).
enum KnownTemplates {
    static let byShape: [String: ChatTemplate] = [
        // ChatML, in two spellings: the loop's variable has another name; then as Axolotl and Unsloth write it.
        "a4aed8d3f81ca60711f961641a0b95688eb6c81e7dd469781a312dc6977dde82": .init(
            name: "chatml", format: .chatML(defaultSystem: nil)),
        "dbb418530171a931b8e5c8a64da5c4e6bc5a7664a4e8c73b083ed40169daa6ce": .init(
            name: "chatml", format: .chatML(defaultSystem: nil)),
        "0df41649dfe3ec536f9eeb53c6dca1996d23c50848130aecdd89dbe40f7d63ae": .init(
            name: "chatml", format: .chatML(defaultSystem: nil)),
        "103c8dd4cecdb709416d957f0035bc2d2c92dc56cafde3337b11314447a31a94": .init(
            name: "chatml", format: .qwen25(defaultSystem: nil)),
        // Qwen2 and its chat models.
        "6ed4f07a28843ae5db14201dd0d455ddd59d1b50d171cad21698c44f08ccdbcc": .init(
            name: "qwen", format: .chatML(defaultSystem: ChatFormat.qwenSystem)),
        // Qwen2 as saved by a fine-tuning tool.
        "9d3d17f1b0ca359774c46bd54573d2752d8996f2aeb463ea186652b2a5514d87": .init(
            name: "qwen", format: .chatMLPrompted(defaultSystem: ChatFormat.qwenSystem)),
        // Qwen2.5, base models and Instruct; the latter also with its line feeds written out.
        "08d2ae928bc128083560449f30c6ac333a3d3374689b375d2a5d939ba46f94de": .init(
            name: "qwen", format: .qwen25(defaultSystem: ChatFormat.qwenSystem)),
        "4231023e336d07045c930ea5ddeda0373f2170d6229d279fc751e674f2639c61": .init(
            name: "qwen2.5", format: .qwen25(defaultSystem: ChatFormat.qwen25System)),
        "03835914dd55d4114f5b71ad01d114fcdafaea6fcfd6a57ed49fdb2fb5a6ec72": .init(
            name: "qwen2.5", format: .qwen25(defaultSystem: ChatFormat.qwen25System)),
        // Qwen3 as it is, as first published, and as Unsloth saves it; the models of July 2025 that do not think and
        // that always do.
        "e16646a9cc1a4c1f04de15eeaad5c22503f1954b04abe1cd6316999f6ed6dbf2": .init(
            name: "qwen3", format: .qwen3(opensReasoning: false)),
        "626daeba3ae5e1a487d57b8f282794276f452166c3dd17e6e3864ba930e06836": .init(
            name: "qwen3", format: .qwen3(opensReasoning: false)),
        "bfaf2e294d233759568d41e210ea37788bbbc063bc197d0496519bce2d59291d": .init(
            name: "qwen3", format: .qwen3(opensReasoning: false)),
        "cfff29c2090adc813a0d0511899c23a7bcad758ccc63e4f1410e27e8469aa7b8": .init(
            name: "qwen3-instruct", format: .qwen25(defaultSystem: nil)),
        "94cea0e99c9b136fd29329bd358b87975c0c815697024d0752649217d6022c75": .init(
            name: "qwen3-thinking", format: .qwen3(opensReasoning: true)),
        // SmolLM2 Instruct.
        "df4580af189051caa795ca887bd823fc694901c6bccc94b26c3ce131ad45e477": .init(
            name: "smollm2", format: .chatML(defaultSystem: ChatFormat.smolLM2System)),
        // Llama 2 chat.
        "5993a651c9c9012c11c9568eb9e76a44895eb9e5bc9c03ac5413a1a861f98a87": .init(name: "llama2", format: .llama2),
        // Llama 3, with the beginning of text written out.
        "b27f926b7cfba125cd37eeed56a9daccfd4f300a4753a066538fab6969c4b7f8": .init(
            name: "llama3", format: .llama3(begin: ChatFormat.llama3Begin, alwaysPrompts: false)),
        // Llama 3 Instruct, as first published, and as Axolotl and Unsloth write it.
        "2136222efba3da4fceb4a216df4f7741ee45725141a84c1b055cf858965b5467": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: false)),
        "2c4bee21de31c32dfb0750dacd84484d7bca3a21b89fd3eeb30b762cb7de477a": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: true)),
        "256287c719b94a89fcff329e8addd2e557607147c9e780e6d2928e1460d1b533": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: false)),
        "2adf8cfc5f8c7e5077e445efc0ee878065c771b0ead97d6c89e07bf12b6a17b3": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: false)),
        // Llama 3.1 and 3.3 Instruct; Llama 3.2, which asks a clock for the date.
        "0162623059d18fa51609d8d4230f0d404a813ab7ae3a43b77dde0037dbe357e4": .init(name: "llama3.1", format: .llama31),
        "370d57bd41f1169bae570669bd22b4450c8effb0d5cdfc6b8b0eacad427b22e8": .init(name: "llama3.1", format: .llama31),
        // Mistral 7B Instruct v0.1 and v0.2 (Mixtral has the latter), now and as first published; v0.3; Nemo, in two
        // versions. Then Axolotl's.
        "0ab1b1a12a0a312cb082c29f1713f145e81c486540cd432e9f372a1217c0489c": .init(
            name: "mistral", format: .labelled(.mistral)),
        "7da02f241b1c0ed64822109b2def0ca3c9223366acfd10ff5520ac7407bf498e": .init(
            name: "mistral", format: .labelled(.mistralFirst(behind: " "))),
        "78fa168ceb8c9ab8de2c6d35fa704064496a6007d727862556417c87edbbef26": .init(
            name: "mistral", format: .labelled(.mistralFirst(behind: ""))),
        "c4dd85b379ffe46f33eaa44132faae95a08656ff686335968b4c264517f6aebc": .init(
            name: "mistral-v0.3", format: .labelled(.mistral3)),
        "abfde0769b434e5b26fbd3b9a51038a242b021c2820df13af5851ae8616122c4": .init(
            name: "mistral-nemo", format: .labelled(.mistralNemo)),
        "fb666cad911a73bd7fa5d6828698e39e1fa5947cf60f71ee7f62e101b059d2b2": .init(
            name: "mistral-nemo", format: .labelled(.mistralNemo)),
        "d8fdb3af223da5c18e3bd8764b181baa986ad1773a993016fdb7ed7161ef7386": .init(
            name: "mistral", format: .labelled(.mistral)),
        "e8f48edc72212c7d38d05401d65c33ce9bb01717ec17bab7dd18327653c06169": .init(
            name: "mistral-v0.3", format: .labelled(.mistral3)),
        "a90e1043ca005350799ffd5f9db8b85a62ed9c9dab05a61e699fce93e76a8e20": .init(
            name: "mistral-nemo", format: .labelled(.mistralNemo)),
        // DeepSeek-R1-Distill, of Qwen and of Llama; as first published the prompt did not begin the reasoning.
        "911d11dc6d8e6e038c9bee8261a154dc6da563ce1ff9d3cd085fb30e7f2589eb": .init(
            name: "deepseek-r1", format: .deepSeekR1(opensReasoning: true)),
        "4987ff3843f752a5650960bbe7b497a0636e4380a40cb99914919dfa5bdcd92e": .init(
            name: "deepseek-r1", format: .deepSeekR1(opensReasoning: false)),
        // Gemma and Gemma 2.
        "b4178d6705e91791e1cb51269294db1c7960810b91aa40a5891364fca9102941": .init(
            name: "gemma", format: .labelled(.gemma)),
        // Zephyr 7B and TinyLlama; Unsloth's.
        "0c9a5ac4a6face8681819f3824b1608834d10e82bc4fbfa49dfb7d1290859493": .init(name: "zephyr", format: .zephyr),
        "5b0c001dff1f1baa56fa77ff1892cbec4f3777fceca19bd7a782fffa1afa7ff2": .init(name: "zephyr", format: .zephyr),
        // Alpaca and Vicuna have no template of their own; these are Axolotl's, Unsloth's and Chujie Zheng's.
        "b9d846c239f3b18300fddffc4a11997f2be5de65884b7877a4cf4d36f4318432": .init(
            name: "alpaca", format: .labelled(.alpacaBetween)),
        "37564cf83fb35a094b6969ea2a7182a9fdcc7da87072d12c14338f5b3b3e9337": .init(
            name: "alpaca", format: .labelled(.alpacaBehind)),
        "af928c28bb5f11b63020b840895f9d8a0c093d0acaa8aa28572608a272c2c8ea": .init(
            name: "alpaca", format: .labelled(.alpacaStripped)),
        "369e42a2949cba499bdd9c93bd0473a2b38c825dee10dc549d6d0bf8e6f86154": .init(
            name: "vicuna", format: .labelled(.vicuna)),
        "670fd3178882a1f85acf5b3cb2e6d264806870b7ca84a93beb068e046d46109c": .init(
            name: "vicuna", format: .labelled(.vicunaLines)),
    ]
}
