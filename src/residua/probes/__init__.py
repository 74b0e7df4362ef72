"""What is measured of a network to see what depth does; nothing here changes the network.

flow         norms of gradients and activations, layer by layer
diagnosis    what such norms mean: vanishing, exploding or healthy, where, and what helps
responses    how strongly each layer answers to images
lesions      networks without some blocks, or with them in another order
damage       what such lesions cost, in numbers and words
landscapes   the loss around trained weights, and how sharply it bends
"""
