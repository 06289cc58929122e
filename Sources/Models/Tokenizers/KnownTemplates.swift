/// Published chat templates by the shape of their Jinja text (`TemplateShape.digest`).
enum KnownTemplates {
    static let byShape: [String: ChatTemplate] = [
        // ChatML, in two spellings: the loop's variable has another name.
        "a4aed8d3f81ca60711f961641a0b95688eb6c81e7dd469781a312dc6977dde82": .init(
            name: "chatml", format: .chatML(defaultSystem: nil)),
        "dbb418530171a931b8e5c8a64da5c4e6bc5a7664a4e8c73b083ed40169daa6ce": .init(
            name: "chatml", format: .chatML(defaultSystem: nil)),
        // Qwen2 and its chat models.
        "6ed4f07a28843ae5db14201dd0d455ddd59d1b50d171cad21698c44f08ccdbcc": .init(
            name: "qwen", format: .chatML(defaultSystem: ChatFormat.qwenSystem)),
        // Qwen2 as saved by a fine-tuning tool.
        "9d3d17f1b0ca359774c46bd54573d2752d8996f2aeb463ea186652b2a5514d87": .init(
            name: "qwen", format: .chatMLPrompted(defaultSystem: ChatFormat.qwenSystem)),
        // Qwen2.5, base models and Instruct.
        "08d2ae928bc128083560449f30c6ac333a3d3374689b375d2a5d939ba46f94de": .init(
            name: "qwen", format: .qwen25(defaultSystem: ChatFormat.qwenSystem)),
        "4231023e336d07045c930ea5ddeda0373f2170d6229d279fc751e674f2639c61": .init(
            name: "qwen", format: .qwen25(defaultSystem: ChatFormat.qwen25System)),
        // Llama 2 chat.
        "5993a651c9c9012c11c9568eb9e76a44895eb9e5bc9c03ac5413a1a861f98a87": .init(name: "llama2", format: .llama2),
        // Llama 3, with the beginning of text written out.
        "b27f926b7cfba125cd37eeed56a9daccfd4f300a4753a066538fab6969c4b7f8": .init(
            name: "llama3", format: .llama3(begin: ChatFormat.llama3Begin, alwaysPrompts: false)),
        // Llama 3 Instruct, and as first published.
        "2136222efba3da4fceb4a216df4f7741ee45725141a84c1b055cf858965b5467": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: false)),
        "2c4bee21de31c32dfb0750dacd84484d7bca3a21b89fd3eeb30b762cb7de477a": .init(
            name: "llama3", format: .llama3(begin: nil, alwaysPrompts: true)),
        // Zephyr 7B.
        "0c9a5ac4a6face8681819f3824b1608834d10e82bc4fbfa49dfb7d1290859493": .init(name: "zephyr", format: .zephyr),
    ]
}
