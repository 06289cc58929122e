/// Every architecture a recipe or a config.json can name. One line here for each file.
public enum ModelRegistry {
    public static let all: [any Model.Type] = [
        MLP.self, CNN.self, ResNet.self, BottleneckResNet.self, WideResNet.self, VGG.self, MobileNetV2.self,
        ShuffleNetV1.self, ShuffleNetV2.self, ViT.self,
    ]

    public static func find(_ kind: String) -> (any Model.Type)? { all.first { $0.architecture.kind == kind } }
}
